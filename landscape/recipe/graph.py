"""From recipes to steps: what must be made before what, each thing once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape import problems
from landscape.options import Options, device_named, fields_of
from landscape.plots import Kind
from landscape.plots.words import names_in_line
from landscape.problems.catalogue import VARIABLE
from landscape.recipe.cache import digest_of_data, digest_of_file
from landscape.recipe.steps import Step, digest
from landscape.recipe.values import Panel, Run, files_named
from landscape.training import Settings
from landscape.vocabulary import DEVICE

if TYPE_CHECKING:
    from landscape.recipe.panel import Recipe
    from landscape.recipe.report import StepReport


@dataclass(frozen=True)
class Where:
    """Settings that differ from machine to machine and decide no result.

    Attributes:
        data: The folder of the data for runs that name none.
        device: Where things are computed.

    Raises:
        LandscapeError: If there is no such kind of device.
    """

    data: Path | None = None
    device: str = DEVICE

    def __post_init__(self) -> None:
        device_named(self.device)

    def require(self, steps: Mapping[str, StepReport]) -> None:
        """Check that the device is here before anything is computed on it.

        Raises:
            LandscapeError: If it is not.
        """
        if any(
            report.state == "planned" and report.step.kind not in ("import", "picture")
            for report in steps.values()
        ):
            from landscape.objective.devices import pick_device

            pick_device(self.device)


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
        # By identity, each with the run itself, so that no other is taken for it.
        self._runs: dict[int, tuple[Run, tuple[str, str]]] = {}

    def add(self, recipe: Recipe) -> str:
        """Take in a recipe; the key of its picture, which needs all else."""
        panels = [self.add_panel(panel) for panel in recipe.panels]
        needs = [need for panel in panels for _, kind, key in panel["steps"] for need in (key, *self._needs(key))]
        caption = recipe.caption if recipe.figure.caption else None
        settings = _plain({"panels": panels, "figure": recipe.figure.plain(), "caption": caption})
        needs = list(dict.fromkeys(needs))
        return self._put(
            Step("picture", f"draw {recipe.name}", settings, {}, tuple(needs), {}, "picture", float(len(panels)))
        )

    def _needs(self, key: str) -> tuple[str, ...]:
        return self.steps[key].needs

    def add_panel(self, panel: Panel) -> dict[str, Any]:
        """Take in a panel: its ``kind``, ``options`` and ``title``, and its ``steps`` as (run, folder, key)."""
        kind, options = panel.plot, panel.options
        named = {name: run for members in panel.members.values() for name, run in members.items()}
        groups = {name: group for group, members in panel.members.items() for name in members if name != group}
        if kind.each(options):
            steps = [(name, kind.step, self.add_value(kind, options, {name: run})) for name, run in named.items()]
        else:
            steps = [("", kind.step, self.add_value(kind, options, named))]
        return {
            "kind": kind.name,
            "options": _shown(options),
            "title": panel.title,
            "groups": groups,
            "steps": steps,
        }

    def add_value(self, kind: Kind, options: Options, runs: Mapping[str, Run], title: str | None = None) -> str:
        """Take in what is computed of some runs, which are taken in too; its key.

        Args:
            kind: The kind of picture that it is for.
            options: How it is computed.
            runs: Name -> run.
            title: What people are told while it is computed.
        """
        sources = {name: self._add_run(run) for name, run in runs.items()}
        bases = {run.base.name: run.base for run in runs.values() if kind.bases and run.base is not None}
        left = {name: self._add_run(run) for name, run in bases.items()}
        every = [*sources.values(), *left.values()]
        settings: dict[str, Any] = {"kind": kind.name, "options": dict(kind.deciding(options))}
        inputs = _digests(every)
        for number, run in enumerate(runs.values()):
            if run.kind != "train" and kind.loss:
                settings[f"run {number}"] = {"problem": _problem_name(run), "options": dict(run.options)}
                inputs |= {f"{name} {number}": digest for name, digest in self._outside(run).items()}
        if not kind.each(options):
            settings["names"] = list(runs)
        for name, file in files_named(options).items():
            # What is in the file decides, and its name, which stands at the axes; not where it lies.
            settings["options"][name], inputs[name] = file.name, digest_of_file(file)
        pace = [(run.problem, dict(run.options)) for run in runs.values()][:1] or [("", {})]
        what, units = kind.cost(options)
        places = {
            "runs": [(name, *source) for name, source in sources.items()],
            "bases": [(name, *source) for name, source in left.items()],
            "objectives": {name: self._places_of(run) for name, run in {**runs, **bases}.items()},
            "options": _plain(options.plain()),
        }
        return self._put(
            Step(
                kind.step,
                title or f"{kind.name} of {names_in_line([*runs]) or settings['options'].get(kind.file)}",
                _plain(settings),
                inputs,
                tuple(dict.fromkeys(found for how, found in every if how != "file")),
                places,
                f"{kind.step} {digest(_plain([*pace[0], inputs.get('run 0'), what]))}",
                units,
            )
        )

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

    def _add_run(self, run: Run) -> tuple[str, str]:
        """Where a run comes from: the kind and key of a step, or ``"file"`` and a path."""
        if id(run) not in self._runs:
            if run.kind == "file":
                place = str(run.files[0])
            else:
                place = self.add_training(run) if run.kind == "train" else self._add_derived(run)
            self._runs[id(run)] = run, (run.kind, place)
        return self._runs[id(run)][1]

    def add_training(self, run: Run) -> str:
        """Take in a run that is trained; its key."""
        training = run.training or Settings()
        options = _options(run)
        settings = {"problem": _problem_name(run), "options": options, "training": training.to_json()}
        places = {"problem": run.problem, "data": self._data_of(run), "device": self.where.device}
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
            "device": self.where.device,
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
        """Return what rebuilds the objective of a run on this machine."""
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


def _shown(options: Options) -> dict[str, Any]:
    """The options that decide a picture, as plain values; of files the names."""
    fields = fields_of(type(options)).items()
    own = {
        name: getattr(options, name)
        for name, field in fields
        if field.metadata["decides"] or field.metadata["shows"]
    }
    files = {name: file.name for name, file in files_named(options).items() if name in own}
    found: dict[str, Any] = _plain(own | files)
    return found


def _plain(value: Any) -> Any:
    """As JSON would give it back, so that a key does not depend on where the value came from."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
