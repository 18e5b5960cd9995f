"""The runs of a recipe: trained, read from files, or derived."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape import problems
from landscape.errors import did_you_mean
from landscape.options import NoOptions, fields_of
from landscape.recipe.reader import (
    ANYTHING,
    COUNT,
    TABLE,
    TEXT,
    TEXTS,
    TRUTH,
    WHOLE,
    Form,
    Reader,
    either,
    list_of,
    one_of,
)
from landscape.recipe.toml_lines import KeyPath
from landscape.recipe.values import Run
from landscape.training import Noise
from landscape.training.settings import Settings
from landscape.transform import Transform

TABLES = ("options", "optimizer_options")
TRAINING: dict[str, Form] = {name: TABLE if name in TABLES else ANYTHING for name in fields_of(Settings)}
PROBLEM: dict[str, Form] = {"problem": TEXT, "options": TABLE, "data": TEXT}


@dataclass(frozen=True)
class Derivation:
    """A kind of derived run: how its table is read.

    Attributes:
        forms: Key -> form of its value.
        required: The keys that cannot be left out.
        of: The key that names the run it is derived from; None if it comes from no run.
        files: The key that names files; None if it comes from no files.
        options: The options among its keys.
    """

    forms: Mapping[str, Form]
    required: tuple[str, ...]
    of: str | None = None
    files: str | None = None
    options: type[Any] = NoOptions


# Kinds of derived runs by the key that says so; None is a kind that a later version will know. A kind that is
# read here has a maker of the same name in `making`, and a version in `steps`.
DERIVATIONS: dict[str, Derivation | None] = {
    "import": Derivation(
        {
            "files": either(TEXT, TEXTS),
            "steps": list_of(WHOLE, "a list of whole numbers"),
            "steps_per_epoch": COUNT,
            "key": TEXT,
            "missing": one_of("refuse", "initial"),
            "extra": one_of("ignore", "refuse"),
            "cast": TRUTH,
        },
        required=("files",),
        files="files",
    ),
    "transform": Derivation(
        {
            "of": TEXT,
            **dict.fromkeys(fields_of(Transform), ANYTHING),
            "at": either(TEXT, WHOLE),
        },
        required=("of",),
        of="of",
        options=Transform,
    ),
    "branch": Derivation(
        {"of": TEXT, "at": either(WHOLE, one_of("first", "last")), "noise": TEXT, **TRAINING},
        required=("of",),
        of="of",
    ),
}
_MAIN = ("problem", "file", *DERIVATIONS)


def read_runs(reader: Reader) -> dict[str, Run]:
    """The runs of a recipe; what is wrong with them is noted.

    Args:
        reader: The recipe.

    Returns:
        Name -> run, of those without faults.
    """
    document = reader.source.document
    common = document.get("runs", {})
    if misplaced := [
        name for name, value in dict(common).items() if isinstance(value, Mapping) and name not in TABLES
    ]:
        for name in misplaced:
            reader.fault(("runs", name), "[runs] holds what all runs have in common", mend=f"write [run.{name}]")
        common = {name: value for name, value in common.items() if name not in misplaced}
    shared = reader.sound(("runs",), common, {**PROBLEM, **TRAINING})
    tables = document.get("run", {})
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        reader.fault(("run",), "every run has a table of its own", mend="write [run.NAME]")
        return {}
    found: dict[str, Run] = {}
    for name, table in tables.items():
        before = len(reader.faults)
        run = _read(reader, ("run", name), table, shared, found)
        if run is not None and len(reader.faults) == before:
            found[name] = run
    return found


def _read(
    reader: Reader, key: KeyPath, table: Mapping[str, Any], shared: Mapping[str, Any], earlier: Mapping[str, Run]
) -> Run | None:
    kinds = [name for name in ("file", *DERIVATIONS) if name in table]
    if len(kinds) > 1:
        reader.fault((*key, kinds[1]), f"a run has either '{kinds[0]}' or '{kinds[1]}'")
        return None
    if not kinds:
        return read_trained(reader, key, table, shared)
    if kinds[0] == "file":
        return _stored(reader, key, table)
    return _derived(reader, key, table, kinds[0], earlier)


def read_trained(
    reader: Reader, key: KeyPath, table: Mapping[str, Any], shared: Mapping[str, Any], common: str = "runs"
) -> Run | None:
    """A run that is trained; what is wrong with it is noted.

    Args:
        reader: The recipe.
        key: The table of the run, whose last part is its name.
        table: What is there.
        shared: What it has in common with others, for what is not.
        common: The table where that is.

    Returns:
        The run; None if it says nothing that is trained.
    """
    forms = {**PROBLEM, **TRAINING, "file": TEXT, **dict.fromkeys(DERIVATIONS, TABLE)}
    own = reader.sound(key, table, forms)
    merged = {name: {**shared.get(name, {}), **own.get(name, {})} for name in TABLES if name in {**shared, **own}}
    options = merged.setdefault("options", {})
    entries: dict[str, Any] = {**shared, **own, **merged}

    def where(name: str) -> KeyPath:
        return (*key, name) if name in own else (common, name)

    if "problem" not in {**shared, **table}:
        reader.fault(key, "a run needs one of " + ", ".join(name for name in _MAIN if _is_there(name)))
        return None
    given = {name: value for name, value in entries.items() if name in TRAINING}
    settings = reader.options(where, Settings, given)
    problem = _problem(reader, where, entries, key, common)
    return Run(
        name=str(key[-1]),
        kind="train",
        problem=problem,
        options=options,
        training=settings,
        data=_data(reader, where, entries),
    )


def _is_there(name: str) -> bool:
    return DERIVATIONS.get(name, ()) is not None


def _stored(reader: Reader, key: KeyPath, table: Mapping[str, Any]) -> Run:
    own = reader.sound(key, table, {"file": TEXT, **PROBLEM})

    def where(name: str) -> KeyPath:
        return (*key, name)

    files = _files(reader, where("file"), own.get("file", []))
    if len(files) > 1:
        reader.fault(where("file"), "a run is one file", got=f"{len(files)} files", mend="name one of them")
    problem = _problem(reader, where, own, key) if "problem" in own else None
    options = own.get("options", {})
    data = _data(reader, where, own)
    return Run(name=str(key[-1]), kind="file", problem=problem, options=options, data=data, files=files)


def _derived(
    reader: Reader, key: KeyPath, table: Mapping[str, Any], kind: str, earlier: Mapping[str, Run]
) -> Run | None:
    derivation = DERIVATIONS[kind]
    if derivation is None:
        there = [name for name in _MAIN if _is_there(name)]
        reader.fault((*key, kind), f"runs by '{kind}' are not there yet", mend="a run has a " + ", ".join(there))
        return None
    own = reader.sound(key, table, {kind: TABLE, **PROBLEM})
    arguments = reader.sound((*key, kind), own.get(kind, {}), derivation.forms)
    for name in derivation.required:
        if name not in table[kind]:
            reader.fault((*key, kind), f"'{name}' is missing")

    if len(arguments) == len(table[kind]):
        own_options = {name: arguments[name] for name in fields_of(derivation.options) if name in arguments}
        reader.options(lambda name: (*key, kind, name) if name else (*key, kind), derivation.options, own_options)

    def where(name: str) -> KeyPath:
        return (*key, name)

    base = None
    if derivation.of is not None and derivation.of in arguments:
        base = earlier.get(arguments[derivation.of])
        if base is None:
            known = did_you_mean(arguments[derivation.of], earlier) if earlier else "it must be written above"
            reader.fault((*key, kind), f"there is no run '{arguments[derivation.of]}' above", mend=known)
    files = (
        _files(reader, where(kind), arguments.get(derivation.files, [])) if derivation.files is not None else ()
    )
    problem = _problem(reader, where, own, key) if "problem" in own else None
    options, data = own.get("options", {}), _data(reader, where, own)
    if base is not None and "problem" not in own:
        # What a run is derived from says what it is a run of.
        problem, options, data = base.problem, {**base.options, **options}, data or base.data
    run = Run(
        name=str(key[-1]),
        kind=kind,
        problem=problem,
        options=options,
        data=data,
        files=files,
        arguments={
            name: value for name, value in arguments.items() if name not in (derivation.of, derivation.files)
        },
        base=base,
    )
    return _branch(reader, (*key, kind), run) if kind == "branch" else run


def _branch(reader: Reader, key: KeyPath, run: Run) -> Run:
    """A branch is trained as the run that it comes from was, but for what its table says."""
    base = run.base
    given = {name: value for name, value in run.arguments.items() if name in TRAINING}
    training = Settings() if base is None or base.training is None else base.training
    training = reader.options(lambda name: (*key, name), Settings, training.plain() | given) or training
    if "noise" in run.arguments:
        with reader.noting((*key, "noise"), "noise: "):
            Noise.parse(run.arguments["noise"])
    how = {name: value for name, value in run.arguments.items() if name not in TRAINING}
    run = replace(run, arguments=how, training=training)
    if base is None:
        return run
    inherited = run.options or base.options
    return replace(run, problem=run.problem or base.problem, data=run.data or base.data, options=inherited)


def _problem(
    reader: Reader,
    where: Callable[[str], KeyPath],
    entries: Mapping[str, Any],
    key: KeyPath,
    common: str = "runs",
) -> str | None:
    """The problem with the folder of its file, if it is the user's own; options of built-in ones are checked."""
    name = entries.get("problem")
    if name is None:
        return None
    if problems.is_file_problem(name):
        return _own_problem(reader, where("problem"), name)
    if not problems.is_known(name):
        with reader.noting(where("problem")):
            problems.get(name)
        return None
    for option, value in entries.get("options", {}).items():
        at = (*key, "options", option)
        with reader.noting(
            at if reader.source.as_written(at) in reader.source.lines else (common, "options", option), f"{name}: "
        ):
            problems.parse_options(name, {option: value})
    return str(name)


def _own_problem(reader: Reader, key: KeyPath, name: str) -> str | None:
    file, _, function = name.rpartition(":")
    path = reader.beside(file)
    if not path.is_file():
        reader.missing(key, file)
        return None
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError) as error:
        reader.fault(key, f"'{file}' is not Python: {error}")
        return None
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    # What is imported or assigned there may be one too; that shows when the file is run.
    plain = all(isinstance(node, ast.FunctionDef | ast.Import | ast.Expr) for node in body)
    if plain and function not in functions:
        mend = did_you_mean(function, functions) if functions else "it defines no function"
        reader.fault(key, f"there is no function '{function}' in '{file}'", mend=mend)
    return f"{path}:{function}"


def _data(reader: Reader, where: Callable[[str], KeyPath], entries: Mapping[str, Any]) -> Path | None:
    if "data" not in entries:
        return None
    path = reader.beside(entries["data"])
    if not path.exists():
        reader.fault(where("data"), "there is no such file or folder", got=f"'{entries['data']}'")
    return path


def _files(reader: Reader, key: KeyPath, patterns: str | list[str]) -> tuple[Path, ...]:
    """The files that are named, relative to the recipe; patterns give theirs in sorted order."""
    found: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        path = reader.beside(pattern)
        hits = [path] if path.exists() else sorted(path.parent.glob(path.name))
        if not hits:
            reader.missing(key, pattern)
        found += hits
    return tuple(found)
