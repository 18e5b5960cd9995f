"""Workers on a Ray cluster: the results of one process, a lost worker costs its task, and clear refusals."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT, make_data, make_mlp
from squares import Number, Square
from torch.nn import functional as F

from landscape.cli.main import cli
from landscape.errors import LandscapeError, LandscapeWarning
from landscape.executor import cluster, results, several
from landscape.executor.ray_cluster import Connection
from landscape.objective import Objective
from landscape.projection import random_plane
from landscape.surface import evaluate, grid

RUN = str(ROOT / "checkpoints" / "digits-mlp.h5")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.mark.parametrize(("address", "given"), [("ray", "local"), ("auto", "auto"), ("here:6379", "here:6379")])
def test_a_cluster_is_begun_beside_one_that_runs_and_joined_where_it_is_named(monkeypatch, address, given):
    # Without an address Ray joins whatever runs on the machine, and then refuses to be told of cores.
    asked = []
    stand_in = SimpleNamespace(
        is_initialized=lambda: False, init=lambda where, **how: asked.append((where, "num_cpus" in how))
    )
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    Connection(address).connect(2)
    assert asked == [(given, address == "ray")]


@needs_ray
@pytest.mark.filterwarnings("default::FutureWarning", "default::ResourceWarning", "default::DeprecationWarning")
def test_a_cluster_gives_what_one_process_gives_and_loses_no_more_than_a_task(tmp_path):
    objective = Objective(make_mlp(), loss=F.cross_entropy, train=make_data(count=48))
    plane, told = random_plane(objective.model), "threads=1,batch_size=16"
    here = evaluate(objective, plane, grid(5), tune=told)
    with cluster():
        there = evaluate(objective, plane, grid(5), tune=told, workers=2, save=tmp_path / "s.h5")
        lost = pytest.warns(LandscapeWarning, match=r"number 3: its worker was lost \(The actor died")
        with several(Square(tmp_path, deadly=3, deaths=2), 2) as workers, lost:
            found = list(results(Square(tmp_path), map(Number, range(6)), workers))
    for field in here.fields:
        assert np.array_equal(here[field], there[field])
    assert [value for value, _ in found] == [n**2 for n in range(6)]
    # Two workers died, and all tasks were done by processes of the cluster.
    assert len(list(tmp_path.glob("died-*"))) == 2


def test_without_ray_a_cluster_is_refused_with_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused = pytest.raises(
        LandscapeError, match=r"Ray is not installed; got ray; pip install '.*\[distributed\]'"
    )
    with refused, cluster():
        pass


def test_gpus_per_worker_are_of_a_cluster():
    done = CliRunner().invoke(cli, ["plot", RUN, "--gpus-per-worker", "0.5"])
    assert isinstance(done.exception, LandscapeError)
    assert str(done.exception) == "--gpus-per-worker: is of a cluster; give --cluster too"
