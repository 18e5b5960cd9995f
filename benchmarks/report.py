"""Samples as a page of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.agreement import Agreement
from benchmarks.rounds import Ratio, Result, ratio

_ABOUT_ENGINES = """\
The bare limit is the forward passes and the mean loss over the same resident data with no change of weights, in
inference mode, at the best micro-batch, memory format and number of threads that a search found. Engines use
torch's own number of threads. Times are medians of {rounds} interleaved rounds; ratios are taken within each
round: median [smallest, largest]. The share of peak is the operations of the model divided by time and by what
`torch.mm` reaches on square float32 matrices in the same rounds; an engine that leaves out operations can pass
100 %. Errors are the largest relative ones against float64 at points of the round."""
_ABOUT_PEERS = """\
Each package evaluates a small grid through its own functions, set-up included, along directions of its own where
it takes no others. All models are in evaluation mode."""
_ABOUT_AGREEMENT = "Values against float64 at the coordinates that the package states (nats; finite values only):"


def page(machine: Mapping[str, str], results: Sequence[Result], rounds: int, command: str, notes: str) -> str:
    """The whole page.

    Args:
        machine: Name -> words.
        results: One per workload.
        rounds: How many there were.
        command: What makes this page again.
        notes: Written by hand, put at the end as they are.

    Returns:
        Markdown.
    """
    parts = [
        "# Benchmarks",
        f"Made by `{command}`; do not edit. Prose is in [NOTES.md](NOTES.md) and is put at the end.",
        _machine(machine),
        _workloads(results),
        "## 1. Our engines and the bare limit",
        _ABOUT_ENGINES.format(rounds=rounds),
        _engines(results),
        *_full(results),
        *_whole(results),
        "## 2. Other packages",
        *_peers(results),
        "## 3. Reduced precision",
        *_reduced(results),
        notes.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(machine: Mapping[str, str]) -> str:
    return _table(("", ""), machine.items())


def _workloads(results: Sequence[Result]) -> str:
    return _table(
        ("", "model", "data", "full grid", "operations per point", "float32 matrix peak"),
        (
            (
                result.name,
                result.title,
                f"{result.examples} examples: {result.data}",
                f"{result.side}x{result.side}",
                f"{result.flops / 1e9:.3g} GFLOP",
                f"{statistics.median(result.peak) / 1e9:.0f} GFLOP/s ({result.peak_setting})",
            )
            for result in results
        ),
    )


def _engines(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        rows.append(
            (
                result.name,
                f"bare: {result.best_bare}",
                _milliseconds(result.bare),
                "1",
                f"{result.share_of_peak(result.bare):.0%}",
                "",
            )
        )
        for engine, seconds in result.seconds.get("ours", {}).items():
            rows.append(
                (
                    result.name,
                    f"`{engine}`: {result.chosen[engine]}",
                    _milliseconds(seconds),
                    _ratio(ratio(seconds, result.bare)),
                    f"{result.share_of_peak(seconds):.0%}",
                    f"{result.errors['ours'][engine]:.1e}",
                )
            )
        rows += [(result.name, name, "left out", why, "", "") for name, why in _failed(result, ours=True)]
    return _table(("", "engine", "ms per point", "ratio to bare", "share of peak", "largest error"), rows)


def _full(results: Sequence[Result]) -> list[str]:
    rows = [
        (
            result.name,
            f"`{engine}`",
            f"{result.side}x{result.side}",
            f"{seconds:.2f}",
            f"{seconds / result.side**2 * 1e3:.3g}",
            f"{result.estimates[engine] * result.side**2:.2f}" if engine in result.estimates else "",
        )
        for result in results
        for engine, seconds in result.full.items()
    ]
    if not rows:
        return []
    head = ("", "engine", "grid", "s, set-up included", "ms per point", "s foreseen")
    return ["The whole grid through `ls.evaluate`, once:", _table(head, rows)]


def _whole(results: Sequence[Result]) -> list[str]:
    rows = []
    for result in results:
        bare, *ours = ([each[k] for each in result.whole] for k in range(3))
        size = f"{result.small_side}x{result.small_side}"
        rows.append((result.name, size, _milliseconds(bare), *(_ratio(ratio(each, bare)) for each in ours)))
    text = (
        "Small grids through `ls.evaluate`, on an objective that nothing was evaluated on and with nothing "
        "remembered on disk, and a second time. Their set-up includes the choice of an engine; ratios are to the "
        f"bare limit before and after, of {len(results[0].whole)} turns:"
    )
    return [text, _table(("", "grid", "ms per point, bare", "first call", "second call"), rows)]


def _peers(results: Sequence[Result]) -> list[str]:
    rows = []
    for result in results:
        own = result.seconds.get("ours", {}).get("auto")
        for name, seconds in result.seconds.get("peer", {}).items():
            rows.append(
                (
                    result.name,
                    name,
                    f"{result.peer_side}x{result.peer_side}",
                    _milliseconds(seconds),
                    _ratio(ratio(seconds, own)) if own else "",
                    _ratio(ratio(seconds, result.bare)),
                )
            )
        rows += [(result.name, name, "", "left out", why, "") for name, why in _failed(result, ours=False)]
    if not rows:
        return ["Not measured."]
    head = ("", "package and way", "grid", "ms per point", "ratio to ours (`auto`)", "ratio to bare")
    judged = [(result.name, found) for result in results for found in result.agreements]
    agreements = _table(
        ("", "package", "grid", "largest error", "range of the losses", "median relative error"),
        ((name, *_agreement(found)) for name, found in judged),
    )
    findings = "\n".join(
        f"- {name}, {found.package}: {finding}." for name, found in judged for finding in found.findings
    )
    return [
        _ABOUT_PEERS,
        _table(head, rows),
        _ABOUT_AGREEMENT,
        agreements,
        "What is wrong, measured:",
        findings,
    ]


def _agreement(found: Agreement) -> tuple[str, ...]:
    return (
        found.package,
        f"{found.side}x{found.side}",
        f"{found.error:.2g}",
        f"{found.spread:.3g}",
        f"{found.typical:.1e}",
    )


def _reduced(results: Sequence[Result]) -> list[str]:
    rows = []
    for result in results:
        own = result.seconds.get("ours", {}).get("auto")
        for name, seconds in result.seconds.get("reduced", {}).items():
            rows.append(
                (
                    result.name,
                    name,
                    _milliseconds(seconds),
                    _ratio(ratio(seconds, own)) if own else "",
                    _ratio(ratio(seconds, result.bare)),
                    f"{result.errors['reduced'][name]:.1e}",
                )
            )
    head = ("", "type", "ms per point", "ratio to ours in float32", "ratio to bare float32", "largest error")
    return [_table(head, rows)] if rows else ["Not measured."]


def _failed(result: Result, *, ours: bool) -> list[tuple[str, str]]:
    """Methods left out: engines and types of ours have names of one word, packages a comma or a space."""
    return [(name, why) for name, why in result.failures.items() if (" " not in name) == ours]


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.3g}"


def _ratio(found: Ratio) -> str:
    return f"{found.median:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
