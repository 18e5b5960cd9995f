"""Findings of a study, in lines."""

from __future__ import annotations

from collections.abc import Mapping

from landscape.values.correlations import Correlated, Correlation

# Reasons for missing values that are told in lines of their own; all are in the tables.
_SHOWN = 6


def study_words(found: Correlated) -> list[str]:
    """Correlations of every measure with every target, how often they agree, and what is missing."""
    return [*_head(found), "", *_table(found), "", *_alike(found), *_missing(found)]


def _head(found: Correlated) -> list[str]:
    counted = int(found.nets.counted.sum())
    lines = [f"{found.meta['name']}: {len(found.nets)} networks of {found.meta['problem']}, {counted} count"]
    for target in found.targets:
        values = found.nets.results[target][found.nets.counted]
        values = values[values == values]
        if len(values):
            row = found.rows[0].correlations[target] if found.rows else None
            tied = f", {100 * row.tied:.1f} % of pairs tied" if row is not None else ""
            lines.append(f"  {target}  {values.min():.4g} to {values.max():.4g}{tied}")
    drawn = "networks" if found.over == "nets" else "settings with all their seeds"
    lines.append(
        f"Kendall's tau-b and Spearman's rho (ties count for neither side), {100 * found.level:g} % bootstrap "
        f"intervals over {drawn}"
    )
    return lines


def _table(found: Correlated) -> list[str]:
    """Measures by falling tau with the first target; controls below."""
    rows = found.ordered()
    wide = max(len(row.name) for row in rows)
    over = "".join(f"  {target:<38}" for target in found.targets)
    head = "".join(f"  {'tau':<6}{'interval':<16}{'rho':<6}{'networks':<10}" for _ in found.targets)
    lines = [f"{'':<{wide + 2}}{over}".rstrip(), f"  {'measure':<{wide}}{head}  invariant"]
    for row in rows:
        told = "".join(f"  {_correlation(row.correlations[target])}" for target in found.targets)
        kind = "control" if row.control else "yes" if row.invariant else "no"
        lines.append(f"  {row.name:<{wide}}{told}  {kind}")
    return lines


def _correlation(one: Correlation) -> str:
    if one.kendall != one.kendall:
        return f"{'undefined':<28}{one.count:<10}"
    low, high = one.kendall_interval
    return f"{one.kendall:<+6.2f}{f'{low:+.2f} to {high:+.2f}':<16}{one.spearman:<+6.2f}{one.count:<10}"


def _alike(found: Correlated) -> list[str]:
    """Agreements over pairs that differ in one hyperparameter."""
    rows = found.ordered()
    axes = [axis for axis in found.nets.levels if any(row.agreements[axis].pairs for row in rows)]
    if not axes:
        return []
    wide = max(len(row.name) for row in rows)
    widths = {axis: max(len(axis), 6) for axis in axes}
    head = "  ".join(f"{axis:<{widths[axis]}}" for axis in axes)
    lines = [f"(concordant - discordant) / pairs that differ in one hyperparameter alone, with {found.targets[0]}"]
    lines.append(f"  {'measure':<{wide}}  {head}".rstrip())
    for row in rows:
        told = "  ".join(f"{_share(row.agreements[axis].value):<{widths[axis]}}" for axis in axes)
        lines.append(f"  {row.name:<{wide}}  {told}".rstrip())
    return [*lines, ""]


def _share(value: float) -> str:
    return "-" if value != value else f"{value:+.2f}"


def _missing(found: Correlated) -> list[str]:
    """Networks that do not count, and values that are missing: how many of each, and why."""
    lines = [f"does not count: {net}: {why}" for net, why in list(found.nets.faults.items())[:_SHOWN]]
    if len(found.nets.faults) > _SHOWN:
        lines.append(f"  and {len(found.nets.faults) - _SHOWN} more; see the table of networks")
    for row in found.rows:
        lines += [f"{row.name}: {count} networks: {why}" for why, count in _counted(row.missing).items()]
        if rough := found.nets.rough.get(row.name):
            lines.append(f"{row.name}: {len(rough)} networks: rough, the computation did not reach its tolerance")
    return [*lines, ""] if lines else []


def _counted(reasons: Mapping[str, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for why in reasons.values():
        found[why] = found.get(why, 0) + 1
    return found
