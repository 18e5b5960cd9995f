"""Help that fits on a screen, options that have one name everywhere, and advice that can be followed."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from conftest import ROOT, cifar_folder

from landscape.cli.main import cli

COLUMNS, LINES = 100, 60


def commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command and group by the words that call it."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


COMMANDS = dict(commands())
LEAVES = {path: one for path, one in COMMANDS.items() if not isinstance(one, click.Group)}


def options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option)]


def spellings(command: click.Command) -> set[str]:
    """All that a user may type, what help does not show included."""
    found = {"--help", "-h"}
    for one in options(command):
        found |= {*one.opts, *one.secondary_opts, *getattr(one, "former", ())}
    return found


SPELLINGS = {path: spellings(command) for path, command in COMMANDS.items()}


@pytest.mark.parametrize("path", COMMANDS)
@pytest.mark.parametrize("columns", [80, COLUMNS])
def test_help_fits_on_a_screen(landscape, monkeypatch, path, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = landscape(*path.split(), "--help")
    assert done.code == 0
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) <= LINES * COLUMNS / columns
    assert "Example:" in done.out or not path


@pytest.mark.parametrize("path", LEAVES)
def test_all_options_are_behind_help_all(landscape, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    done = landscape(*path.split(), "--help-all")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= COLUMNS
    shown = [one for one in options(LEAVES[path]) if not one.hidden]
    for one in shown:
        assert re.search(rf"^  {re.escape(one.opts[0])}\b", done.out, flags=re.MULTILINE), one.opts
        for former in getattr(one, "former", ()):
            assert not re.search(rf"{former}(?![\w-])", done.out), former
    # What the short help leaves out, it says.
    short = landscape(*path.split(), "--help").out
    assert ("More options, which --help-all explains" in short) is (LEAVES[path].common is not None)


def test_plot_begins_with_ten_common_options(landscape):
    said = landscape("plot", "--help").out
    listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", said.split("Options:")[1], flags=re.MULTILINE)
    assert listed[:10] == [
        *("--output", "--kind", "--at", "--plane", "--points"),
        *("--radius", "--metric", "--seed", "--problem", "--save"),
    ]
    titles = re.findall(r"^(\S.*):$", landscape("plot", "--help-all").out, flags=re.MULTILINE)
    assert titles[:3] == ["Kinds", "Options", "Slices"]
    assert titles[-1] == "Look"


@pytest.mark.parametrize("path", ["", "probe", "init"])
def test_a_group_alone_shows_its_help_on_several_lines(landscape, path):
    bare, asked = landscape(*path.split()), landscape(*path.split(), "--help")
    assert (bare.code, bare.out.strip()) == (0, asked.out.strip())
    assert len(bare.out.splitlines()) > 8


def test_an_option_is_a_flag_in_all_commands_or_in_none():
    found: dict[str, dict[tuple[bool, bool], str]] = {}
    for path, command in LEAVES.items():
        for one in options(command):
            for name in one.opts:
                found.setdefault(name, {})[one.is_flag, one.multiple] = path
    # One noise makes a picture, several make branches.
    assert {name for name, kinds in found.items() if len(kinds) > 1} == {"--noise"}


# What one word stands for, and the words that it had: those are read, and no other command shows them.
ONE_NAME = {
    "--color": ("--colour",),
    "--parameters": ("--layers",),
    "--save": ("--save-surface", "--save-distances"),
    "--gradient-field": ("--gradient",),
    "--copies": ("--branches",),
    "--plane-points": ("--plane",),
    "--along": ("--directions",),
    "--curve": ("--kind",),
    "--barriers": ("--matrix",),
    "--output": ("--directory",),
}


@pytest.mark.parametrize("name", ONE_NAME)
def test_former_names_are_read(name):
    for former in ONE_NAME[name]:
        homes = [
            one
            for command in LEAVES.values()
            for one in options(command)
            if name in one.opts and former in getattr(one, "former", ())
        ]
        assert homes, former
        for one in homes:
            command = click.Command("x", params=[one])
            value = [] if one.is_flag else ["1"]
            old, new = (command.make_context("x", [typed, *value]).params for typed in (former, name))
            assert old == new != command.make_context("x", []).params


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("plot --kind mds", "--layers no.such", "--parameters no.such"),
        ("plot --kind perturb", "--directions top,up", "--along top,up"),
        ("probe perturb", "--directions top,up", "--along top,up"),
        ("probe perturb --retrain sgd -o b.h5", "--branches 0", "--copies 0"),
        ("probe connect run.h5:0", "--kind curly", "--curve curly"),
    ],
)
def test_former_and_new_names_say_the_same(landscape, tmp_path, monkeypatch, path, old, new):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.h5").symlink_to(ROOT / "checkpoints" / "digits-mlp.h5")
    answers = [landscape(*path.split(), "run.h5", *given.split()) for given in (old, new)]
    # The first of the two also notes that the file is an old one.
    said = [[line for line in answer.err.splitlines() if ": note: " not in line] for answer in answers]
    assert (answers[0].code, answers[0].out, said[0]) == (answers[1].code, answers[1].out, said[1])
    assert answers[0].code == 2
    # A fault is told of the name that help shows.
    if "mds" not in path:
        assert f"'{new.split()[0]}'" in answers[0].err


def texts(file: Path) -> Iterator[str]:
    """What strings of a module say to people: all but names, documentation and what declares options."""
    tree = ast.parse(file.read_text())
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


# Room or module -> the commands that its messages are read under; of others any command may be meant.
READ_UNDER: Mapping[str, tuple[str, ...]] = {
    "landscape/training": ("train",),
    "landscape/trajectory/checkpoints/export.py": ("export",),
    "landscape/trajectory/checkpoints": ("import",),
    "landscape/measures": ("measure",),
    "landscape/surface": ("plot",),
    "landscape/exports": ("export",),
    "landscape/projection": ("plot", "train"),
    "landscape/plots/objectives.py": ("plot", "measure", "audit", "transform", "probe perturb"),
    "landscape/problems": ("plot", "measure", "audit", "transform", "train", "import"),
    "landscape/transform": ("transform",),
    **{f"cli/{path.replace(' ', '_')}.py": (path,) for path in LEAVES},
    "cli/import_checkpoints.py": ("import",),
    "cli/init.py": ("init problem",),
    "cli/problems.py": ("train",),
}
# One command of the room above is meant, not all: a plane for `plot`, an interval for `train`.
ANY = ("landscape/projection",)
# Options of other programs, and placeholders.
FOREIGN = {"--no-"}


def advice() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Options that messages name: (file, option, commands that it must be an option of)."""
    for file in sorted([*(ROOT / "landscape").rglob("*.py"), *(ROOT / "cli").glob("*.py")]):
        where = str(file.relative_to(ROOT))
        home = max((room for room in READ_UNDER if where.startswith(room)), key=len, default=None)
        for text in texts(file):
            commands = list(re.finditer(r"landscape ((?:probe |init )?[a-z]+)\b", text))
            for match in re.finditer(r"(?<![\w`-])--[a-z][a-z-]*", text):
                option = match[0]
                if option in FOREIGN or f"{option}…" in text:
                    continue
                named = [one[1] for one in commands if one.start() < match.start() and one[1] in LEAVES]
                if named:
                    yield where, option, (named[-1],)
                elif home is not None and home not in ANY:
                    yield where, option, READ_UNDER[home]
                else:
                    yield where, option, ()


def test_messages_name_options_that_the_command_has():
    found = list(advice())
    # Controls: the search sees options of several rooms.
    assert {"--overwrite", "--key", "--at", "--engine", "--download"} <= {option for _, option, _ in found}
    wrong = [
        (where, option, command)
        for where, option, homes in found
        for command in homes
        if option not in SPELLINGS[command]
    ]
    known = set().union(*SPELLINGS.values())
    wrong += [(where, option, "any") for where, option, homes in found if not homes and option not in known]
    assert wrong == []


def test_advice_with_one_option_is_not_to_leave_out_what_was_not_given(landscape, tmp_path, monkeypatch):
    """A picture along training and a picture of one snapshot: each remedy leads to a picture."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.h5").symlink_to(ROOT / "checkpoints" / "digits-mlp.h5")
    measure = ("measure", "run.h5", "--measures", "fisher_rao_norm", "-o", "m.png")
    done = landscape(*measure)
    assert done.code == 2
    assert "--at all" in done.err
    done = landscape(*measure, "--at", "0,last")
    assert (done.code, (tmp_path / "m.png").exists()) == (0, True)


@pytest.mark.parametrize("data", [None, "real"])
def test_a_wrong_problem_is_told_of_without_its_data(landscape, tmp_path, monkeypatch, data):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "x.pt")
    if data is None:
        monkeypatch.delenv("LANDSCAPE_DATA", raising=False)
    elif cifar_folder() is None:
        pytest.skip("LANDSCAPE_DATA names no folder with CIFAR-10")
    monkeypatch.setattr("landscape.problems.cifar10.cifar10", lambda *_, **__: pytest.fail("data were read"))
    done = landscape("import", tmp_path / "x.pt", "-o", tmp_path / "r.h5", "--problem", "cifar10-cnn6")
    assert done.code == 2
    assert "x.pt: " in done.err
    assert "LANDSCAPE_DATA" not in done.err
