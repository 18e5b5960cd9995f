"""Claims of Theus et al. 2025."""

from __future__ import annotations

from landscape.claims.claim import RECALLED, Array, Claim, Numbers, Paper, Reading, below, mean_of, more

_RECIPE = "theus2025-pairs"
# The panel of transformers, and the last family of symmetries that they have.
_PAIRS, _LAST = "1/pairs/barrier, {}", "rotations"


def _barrier(numbers: Numbers, family: str) -> Array:
    """Barriers of the training loss, one for each pair."""
    return numbers[_PAIRS.format(family)]


def _there(numbers: Numbers) -> Reading:
    return more(*mean_of(_barrier(numbers, "none")), than=0.1)


def _left(numbers: Numbers) -> Reading:
    return more(*mean_of(_barrier(numbers, "permutations")), than=0.05)


def _further(numbers: Numbers) -> Reading:
    return more(*mean_of(_barrier(numbers, "permutations") - _barrier(numbers, _LAST)))


def _gone(numbers: Numbers) -> Reading:
    return below(mean_of(_barrier(numbers, _LAST))[0], 0.05)


_OURS = "Pairs of small text transformers of different seeds, matched by weights"

PAPER = Paper(
    "theus2025",
    "A. Theus, A. Cabodi, S. Anagnostidis, A. Orvieto, S. P. Singh, V. Boeva, Generalized Linear Mode "
    "Connectivity for Transformers, NeurIPS 2025, arXiv 2506.22712.",
    (
        Claim(
            "Between independently trained transformers there is a barrier",
            RECALLED,
            f"{_OURS}: training loss on the line above the mean of its ends, in nats.",
            _RECIPE,
            _there,
        ),
        Claim(
            "Permutations alone leave a barrier",
            "abstract",
            f"{_OURS}: barrier after permutations only, in nats.",
            _RECIPE,
            _left,
        ),
        Claim(
            "Symmetries beyond permutations lower it further",
            "abstract",
            f"{_OURS}: barrier after permutations less that after all symmetries, in nats.",
            _RECIPE,
            _further,
        ),
        Claim(
            "With all symmetries low and zero barriers are found between transformers",
            "abstract",
            f"{_OURS}: barrier after all symmetries, in nats; at most 0.05.",
            _RECIPE,
            _gone,
        ),
        Claim(
            "Matching that is trained lowers the barrier below that of matching by weights",
            RECALLED,
            "Needs permutations and rotations that are trained on the loss along the line.",
        ),
        Claim(
            "Networks of different widths are joined",
            "abstract",
            "Needs symmetries between networks of different widths.",
        ),
    ),
)
