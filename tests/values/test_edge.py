"""The verdict on the edge of stability says what the numbers say."""

import numpy as np
import pytest

from landscape.values.edge import edge_verdict, verdict_of
from landscape.values.measure_table import Column, Table

STEPS = np.arange(6) * 600


@pytest.mark.parametrize(
    ("sharpness", "options", "words"),
    [
        ([5, 20, 38, 37, 36, 37], {}, "38/lr reached at step 1,200; 0.97 ± 0.02 of it since"),
        ([5, 20, 30, 37, 36, 37], {}, "38/lr not reached; the largest is 0.97 of it, at step 1,800"),
        ([5, 20, 38, 37, 36, 4], {}, "38/lr reached at step 1,200; 0.76 ± 0.43 of it since, 0.11 at the end"),
        ([5, 20, 30, 37, 36, 38], {}, "38/lr reached at step 3,000; 1.00 of it there"),
        ([np.nan] * 6, {}, "38/lr: nothing to compare"),
        (
            [380, 20, 38, 37, 36, 37],
            {},
            "38/lr reached again at step 1,200 (10 of it at the start); 0.97 ± 0.02 of it since",
        ),
        (
            [380, 20, 19, 19, 19, 19],
            {},
            "38/lr not reached again (10 of it at the start); the largest is 0.53 of it, at step 600",
        ),
        ([38, 39, 38, 38, 39, 40], {}, "38/lr reached at step 0; 1.02 ± 0.02 of it since"),
        (
            [5, 20, 38, 37, np.nan, 37],
            {"bound": True},
            "38/lr reached at step 1,200; at least 0.98 ± 0.02 of it since",
        ),
        (
            [5, 9, 9, 9, 9, 9],
            {"minibatch": 128},
            "38/lr not reached; the largest is 0.24 of it, at step 600. "
            "Minibatches of 128: the threshold is theory of full batches",
        ),
        (
            [5, 9, 9, 9, 9, 9],
            {"minibatch": 0},
            "38/lr not reached; the largest is 0.24 of it, at step 600. "
            "Batches are not known: the threshold is theory of full batches",
        ),
    ],
)
def test_words(sharpness, options, words):
    assert edge_verdict(STEPS, sharpness, 38.0, "38/lr", **options).words == words


def test_a_moving_threshold_is_compared_step_by_step():
    found = edge_verdict([0, 1, 2], [1.0, 4.0, 2.0], [2.0, 4.0, 4.0], "t")
    assert (found.reached, found.mean, found.last) == (1, 0.75, 0.5)


def column(values):
    made = Column.blank(len(values), {})
    for row, value in enumerate(values):
        made.put(row, value, None, True)
    return made


def test_a_table_has_a_verdict_where_it_has_sharpness_and_threshold():
    columns = {"norm_sharpness": column([1.0, 3.0]), "sharpness_threshold": column([2.0, 2.0])}
    meta = {"optimizer": {"kind": "muon", "threshold": "2 |g|* / lr", "minibatch": None}}
    table = Table(np.array([0, 5]), np.array([0.0, 1.0]), columns, {}, meta)
    assert verdict_of(table).words == "2 |g|* / lr reached at step 5; at least 1.50 of it there"
    assert verdict_of(Table(table.steps, table.epochs, {"m": column([1.0, 1.0])}, {}, meta)) is None
    assert verdict_of(Table(table.steps, table.epochs, columns)) is None
