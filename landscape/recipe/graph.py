"""From recipes to steps: what must be made before what, each thing once."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landscape import problems
from landscape.pipeline import COMMON, THROUGH_RUNS, Along, Grown, Slice
from landscape.problems.cifar_data import VARIABLE
from landscape.recipe.branches import pairs_of, trunk_of
from landscape.recipe.cache import digest_of_data, digest_of_file
from landscape.recipe.exhibits import taking
from landscape.recipe.steps import Step, digest
from landscape.recipe.values import Exhibited, Panel, Recipe, Run
from landscape.training import Settings

# What a slice may take does not change its numbers.
_NOT_DECISIVE = ("memory",)
_LATER = {name: getattr(Slice(), name) for name in ("center", "directions", "nearest", "gradient")}


@dataclass(frozen=True)
class Where:
    """What differs from machine to machine and decides no result.

    Attributes:
        data: The folder of the data for runs that name none.
        device: Where slices are evaluated.
    """

    data: Path | None = None
    device: str = "cpu"


class Graph:
    """The steps of several recipes; what two of them share is there once.

    Args:
        where: What differs from machine to machine.

    Attributes:
        steps: Key -> step; whatever a step needs stands before it.
    """

    def __init__(self, where: Where) -> None:
        self.where = where
        self.steps: dict[str, Step] = {}
        self._data: dict[Path, str] = {}

    def add(self, recipe: Recipe) -> str:
        """Take in a recipe; the key of its picture, which needs all else."""
        panels = []
        needs: list[str] = []
        for panel in recipe.panels:
            if panel.exhibit is not None:
                shown = self.add_exhibit(panel.exhibit)
                needs += [key for _, members in shown["members"] for _, key, _ in members]
                panels.append({**shown, "title": panel.title})
                continue
            if panel.embed is not None:
                entry = self.add_embeddings(panel)
                needs += [entry["distances"], *(found for _, how, found in entry["runs"] if how != "file")]
                panels.append({**entry, "title": panel.title, "embed": asdict(panel.embed)})
                continue
            slices = self.add_panel(panel)
            needs += slices.values()
            panels.append({"surfaces": list(slices.items()), **_drawing(panel)})
        figure = asdict(recipe.figure)
        caption = recipe.caption if recipe.figure.caption else None
        settings = _plain({"panels": panels, "figure": figure, "caption": caption})
        needs = list(dict.fromkeys(needs))
        return self._put(
            Step("picture", f"draw {recipe.name}", settings, {}, tuple(needs), {}, "picture", float(len(panels)))
        )

    def add_panel(self, panel: Panel) -> dict[str, str]:
        """Take in a panel: name -> key of its slices, or of its measures."""
        if panel.grown is not None:
            return self._add_branches(panel, panel.grown)
        if panel.along is not None:
            along, measure = panel.along, panel.measure
            return {
                name: self.add_measures(run, along, f"{measure} along {name}") for name, run in panel.runs.items()
            }
        if panel.slice.plane in (THROUGH_RUNS, COMMON):
            return {" – ".join(panel.runs): self._add_slice(panel, panel.runs)}
        return {name: self._add_slice(panel, {name: run}) for name, run in panel.runs.items()}

    def add_embeddings(self, panel: Panel) -> dict[str, Any]:
        """Take in a panel of embeddings: its ``runs`` as (name, kind, key), and the key of their ``distances``."""
        runs = [(name, *self._add_run(run)) for name, run in panel.runs.items()]
        embed = {} if panel.embed is None else asdict(panel.embed)
        decisive = ("layers", "per_layer", "branches")
        key = self._put(
            Step(
                "distances",
                f"distances of {', '.join(panel.runs)}",
                _plain({"embed": {name: embed.get(name) for name in decisive}, "names": list(panel.runs)}),
                _digests([source for _, *source in runs]),
                tuple(found for _, how, found in runs if how != "file"),
                {"runs": runs},
                "distances",
                float(len(runs) ** 2),
            )
        )
        return {"runs": runs, "distances": key}

    def add_exhibit(self, shown: Exhibited) -> dict[str, Any]:
        """Take in what is taken from the runs of an exhibit: ``members`` as (name, key, options) by run."""
        found = []
        for group, members in shown.members.items():
            own = [(name, self._add_taken(shown, name, run), _options(run)) for name, run in members.items()]
            found.append((group, own))
        return {"exhibit": shown.kind, "settings": dict(shown.settings), "members": found}

    def _add_taken(self, shown: Exhibited, name: str, run: Run) -> str:
        source = self._add_run(run)
        settings = _plain({"taking": taking(shown)})
        places = {"run": source, **self._places_of(run)}
        pace = f"{shown.kind} {digest(_plain([settings, run.problem, dict(run.options)]))}"
        return self._put(Step("exhibit", f"{shown.kind} of {name}", settings, {}, (source[1],), places, pace))

    def needed_by(self, key: str) -> list[str]:
        """The keys of all steps that one needs, in order, and its own."""
        found = {key}
        for step_key in reversed(self.steps):
            if step_key in found:
                found |= set(self.steps[step_key].needs)
        return [step_key for step_key in self.steps if step_key in found]

    def _put(self, step: Step) -> str:
        self.steps.setdefault(step.key, step)
        return step.key

    def _add_slice(self, panel: Panel, runs: Mapping[str, Run]) -> str:
        sources = [self._add_run(run) for run in runs.values()]
        first = next(iter(runs.values()))
        entries = {name: value for name, value in asdict(panel.slice).items() if name not in _NOT_DECISIVE}
        # What slices could not say at first is left out unless it is said, so that older results keep their keys.
        entries = {name: value for name, value in entries.items() if name not in _LATER or value != _LATER[name]}
        # A tuple is a range and a list holds coordinates; JSON knows no tuples.
        entries |= {axis: _axis(entries[axis]) for axis in "xy"}
        drawn = [name for name in (panel.metric,) if name in ("penalty", "total")]
        settings: dict[str, Any] = {"slice": entries, "metrics": drawn}
        inputs: dict[str, str] = {}
        if panel.slice.directions is not None:
            # What is in the file decides, and its name, which stands at the axes; not where it lies.
            file = Path(panel.slice.directions)
            entries["directions"], inputs["directions"] = file.name, digest_of_file(file)
        if panel.slice.plane in (THROUGH_RUNS, COMMON):
            settings["names"] = list(runs)
        if first.kind != "train":
            settings |= {"problem": _problem_name(first), "options": dict(first.options)}
            inputs |= self._outside(first)
        inputs |= _digests(sources)
        places = {
            "runs": [(name, *source) for name, source in zip(runs, sources, strict=True)],
            **self._places_of(first),
            "memory": panel.slice.memory,
            "directions": panel.slice.directions,
        }
        model = [first.problem, dict(first.options), inputs.get("run 0")]
        work = [panel.slice.splits, panel.slice.subset, panel.slice.dtype, panel.slice.preview, panel.kind]
        return self._put(
            Step(
                "slice",
                f"{panel.kind} of {', '.join(runs)}",
                _plain(settings),
                inputs,
                tuple(found for how, found in sources if how != "file"),
                places,
                "slice " + digest(_plain([model, work])),
                _points(panel.slice),
            )
        )

    def _add_branches(self, panel: Panel, grown: Grown) -> dict[str, str]:
        if grown.show == "branch":
            recorded = Along((), split=grown.split)
            return {
                name: self.add_measures(run, recorded, f"{grown.metric} along {name}")
                for name, run in panel.runs.items()
            }
        return {f"{a.name} – {b.name}": self._add_pair(grown, a, b) for a, b in pairs_of(panel.runs)}

    def _add_pair(self, grown: Grown, a: Run, b: Run) -> str:
        sources = [self._add_run(run) for run in (trunk_of({a.name: a, b.name: b}), a, b)]
        branch = b if a.kind != "branch" else a
        settings: dict[str, Any] = {"pair": {"split": grown.split, "bn": grown.bn}}
        settings |= {"problem": _problem_name(branch), "options": dict(branch.options)}
        inputs = self._outside(branch) | _digests(sources)
        places = {"runs": sources, **self._places_of(branch)}
        return self._put(
            Step(
                "pair",
                f"{a.name} and {b.name} side by side",
                _plain(settings),
                inputs,
                tuple(found for how, found in sources if how != "file"),
                places,
                "pair " + digest(_plain([branch.problem, dict(branch.options)])),
                1.0 if branch.training is None else float(branch.training.epochs),
            )
        )

    def add_measures(self, run: Run, wanted: Along, title: str) -> str:
        """Take in measures along a run, which is taken in too; their key.

        Args:
            run: The run.
            wanted: Which measures, where and how.
            title: What people are told while they are taken.
        """
        how, found = self._add_run(run)
        along = wanted.to_json()
        settings: dict[str, Any] = {"along": along}
        inputs: dict[str, str] = {}
        if run.kind != "train":
            settings |= {"problem": _problem_name(run), "options": dict(run.options)}
            inputs |= self._outside(run)
        if how == "file":
            inputs["run"] = digest_of_file(Path(found))
        places = {"run": (how, found), **self._places_of(run)}
        return self._put(
            Step(
                "measures",
                title,
                _plain(settings),
                inputs,
                () if how == "file" else (found,),
                places,
                "measures " + digest(_plain([run.problem, dict(run.options), along])),
                1.0 if run.training is None else float(run.training.epochs),
            )
        )

    def _add_run(self, run: Run) -> tuple[str, str]:
        """Where a run comes from: the kind and key of a step, or ``"file"`` and a path."""
        if run.kind == "file":
            return "file", str(run.files[0])
        return run.kind, self.add_training(run) if run.kind == "train" else self._add_derived(run)

    def add_training(self, run: Run) -> str:
        """Take in a run that is trained; its key."""
        training = run.training or Settings()
        options = _options(run)
        settings = {"problem": _problem_name(run), "options": options, "training": training.to_json()}
        places = {"problem": run.problem, "data": self._data_of(run)}
        model = digest(_plain([run.problem, options, training.batch_size, training.optimizer]))
        return self._put(
            Step(
                "train",
                f"train {run.name}",
                _plain(settings),
                self._outside(run),
                (),
                places,
                f"train {model}",
                float(training.epochs),
            )
        )

    def _add_derived(self, run: Run) -> str:
        base = None if run.base is None else self._add_run(run.base)
        inputs = self._outside(run) | {f"file {n}": digest_of_file(file) for n, file in enumerate(run.files)}
        if base is not None and base[0] == "file":
            inputs["base"] = digest_of_file(Path(base[1]))
        settings: dict[str, Any] = {
            "arguments": run.arguments,
            "problem": _problem_name(run),
            "options": run.options,
        }
        pace, units = run.kind, float(max(1, len(run.files)))
        if run.training is not None:
            settings["training"] = run.training.to_json()
            model = [run.problem, _options(run), run.training.batch_size, run.training.optimizer]
            pace, units = f"train {digest(_plain(model))}", float(run.training.epochs)
        places = {
            "problem": run.problem,
            "data": self._data_of(run),
            "files": list(map(str, run.files)),
            "base": base,
        }
        return self._put(
            Step(
                run.kind,
                f"{run.kind} {run.name}",
                _plain(settings),
                inputs,
                (base[1],) if base is not None and base[0] != "file" else (),
                places,
                pace,
                units,
            )
        )

    def _places_of(self, run: Run) -> dict[str, Any]:
        """What rebuilds the objective of a run on this machine."""
        data = self._data_of(run)
        return {"problem": run.problem, "options": dict(run.options), "data": data, "device": self.where.device}

    def _data_of(self, run: Run) -> str | None:
        chosen = run.data or self.where.data
        return None if chosen is None else str(chosen)

    def _outside(self, run: Run) -> dict[str, str]:
        """Digests of the code and the data that a run is made from."""
        found = {}
        if run.problem is not None and problems.is_file_problem(run.problem):
            found["code"] = digest_of_file(Path(run.problem.rpartition(":")[0]))
        data = run.data
        if data is None and run.problem in problems.names() and problems.get(run.problem).needs_data:
            named = os.environ.get(VARIABLE)
            data = self.where.data or (Path(named).expanduser() if named else None)
            found["data"] = "missing"
        if data is not None:
            if data not in self._data:
                self._data[data] = digest_of_data(data)
            found["data"] = self._data[data]
        return found


def _digests(sources: Sequence[Sequence[str]]) -> dict[str, str]:
    """Of the runs that come from files."""
    return {f"run {n}": digest_of_file(Path(found)) for n, (how, found) in enumerate(sources) if how == "file"}


def _problem_name(run: Run) -> str | None:
    return None if run.problem is None else problems.short_name(run.problem)


def _options(run: Run) -> dict[str, Any]:
    """The options of a run's problem; of built-in ones with all defaults, whose change is a change of the run."""
    if run.problem is None or problems.is_file_problem(run.problem):
        return dict(run.options)
    return asdict(problems.parse_options(run.problem, run.options))


def _drawing(panel: Panel) -> dict[str, Any]:
    # Only where it is said, so that older pictures keep their keys.
    grown = {} if panel.grown is None else {"grown": asdict(panel.grown)}
    return grown | {
        "kind": panel.kind,
        "title": panel.title,
        "metric": panel.metric,
        "split": panel.split,
        "view": panel.view,
        "measure": panel.measure,
    }


def _axis(values: Any) -> Any:
    return {"range": list(values)} if isinstance(values, tuple) else values


def _points(wanted: Slice) -> float:
    counts = wanted.points if isinstance(wanted.points, tuple) else (wanted.points, wanted.points)
    x, y = (
        count if given is None or isinstance(given, tuple) else len(given)
        for count, given in zip(counts, (wanted.x, wanted.y), strict=True)
    )
    return float(math.prod((x, 1 if wanted.kind == "curve" else y, wanted.repeats or 1)))


def _plain(value: Any) -> Any:
    """As JSON would give it back, so that a key does not depend on where the value came from."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
