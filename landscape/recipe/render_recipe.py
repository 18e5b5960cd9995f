"""Render recipes: find them, make what is missing, put the pictures where they belong, say what became of each."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from landscape.errors import LandscapeError
from landscape.executor import Event
from landscape.recipe import gallery
from landscape.recipe.cache import CACHE, Cache
from landscape.recipe.faults import Fault, RecipeError
from landscape.recipe.graph import Graph, Where
from landscape.recipe.panel import Recipe
from landscape.recipe.report import RecipeReport, Report, StepReport
from landscape.recipe.schedule import is_done, make_planned, survey
from landscape.recipe.steps import Step
from landscape.recipe.toml_lines import FULL
from landscape.recipe.trial import Trial
from landscape.recipe.validate import load
from landscape.vocabulary import DEVICE

Target = str | os.PathLike[str]


def render(
    targets: Target | Recipe | Sequence[Target | Recipe],
    *,
    cache: Target | None = None,
    output: Target | None = None,
    data: Target | None = None,
    device: str = DEVICE,
    jobs: int = 1,
    force: bool = False,
    only: str | None = None,
    size: str = FULL,
    dry_run: bool = False,
    notify: Callable[[Event], None] | None = None,
) -> Report:
    """Make the pictures of recipes, and of all that they need only what is not made yet.

    Args:
        targets: Recipes, or folders of them.
        cache: The folder that results are kept in; by default ``.landscape-cache`` beside the first recipe.
        output: Where pictures go; by default ``gallery/`` beside each recipe, ``gallery-small/`` for small ones.
        data: The folder of the data for runs that name none.
        device: Where runs are trained and pictures computed: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
        jobs: So many steps at once, each in a process of its own if there are several.
        force: Make again what is made.
        only: A pattern such as ``"li2018-*"`` that the names of recipes must match.
        size: Make the ``"small"`` or the ``"paper"`` version of recipes that have one; no page is written.
        dry_run: Make nothing, and report what would be made and how long it may take, from earlier steps of the
            kind, or else from one update or one point that is timed.
        notify: Told what happens; see `Event`.

    Returns:
        What became of each recipe and step. A recipe that is wrong or fails does not stop the others.

    Raises:
        LandscapeError: If there is no such recipe or folder, none matches, or pictures of another size would
            overwrite those of the full size.

    Example:
        >>> render("figures/", only="li2018-*", jobs=2).done  # doctest: +SKIP
        True
    """
    began = time.monotonic()
    if jobs < 1:
        raise LandscapeError("at least one job is needed", where="jobs", got=jobs)
    given = [targets] if isinstance(targets, str | os.PathLike | Recipe) else list(targets)
    found, folders = _find(given, only)
    kept = Cache(Path(cache) if cache is not None else next(iter(found)).parent / CACHE)
    graph = Graph(Where(None if data is None else Path(data).expanduser(), device))
    recipes, reports = _load(found, graph, size)
    goals = {path: key for path, (_, key) in recipes.items()}
    folder_of = {path: _folder(recipes[path][0], output) for path in goals}
    # Pictures of other sizes and other folders have no page that could tell of them.
    told = {} if force or size != FULL or output else _told(recipes, graph, kept)
    wanted = [key for path, key in goals.items() if path not in told]
    steps = survey(graph.steps, kept, wanted, force, **({"pace": Trial().pace} if dry_run else {}))

    def ended(key: str) -> None:
        """Deliver a picture as soon as it is finished: an interrupt leaves those before."""
        for path in (path for path, goal in goals.items() if goal == key):
            _deliver(kept, graph.steps[key], folder_of[path], path.stem, False)

    if not dry_run:
        graph.where.require(steps)
        make_planned(steps, kept, jobs, force, notify, ended)
    seconds = {key: _seconds(report, kept) for key, report in steps.items()}
    for path, key in goals.items():
        report = _conclude(path, graph.needed_by(key), steps, seconds)
        if path in told:
            files = tuple(gallery.files_of(recipes[path][0]))
            report = replace(report, state="current", files=files, seconds=told[path][1], steps=())
        elif is_done(steps[key]):
            placed, changed = _deliver(kept, graph.steps[key], folder_of[path], path.stem, dry_run)
            state = "current" if steps[key].state == "cached" and not changed else "planned" if dry_run else "made"
            report = replace(report, state=state, files=tuple(placed))
        reports[path] = report
    ended_all = Report(tuple(reports[path] for path in found), steps, kept.folder)
    words = {path: section for path, (section, _) in told.items()}
    pages = (
        [] if dry_run or only or output or size != FULL else _pages(folders, ended_all, recipes, seconds, words)
    )
    return replace(ended_all, pages=tuple(pages), seconds=time.monotonic() - began)


def _seconds(report: StepReport, cache: Cache) -> float:
    """The seconds that a step took; 0 where the cache has none."""
    if report.state == "cached" and report.seconds is not None:
        return report.seconds
    return float((cache.record(report.step) or {"seconds": 0.0})["seconds"])


def _told(recipes: Mapping[Path, tuple[Recipe, str]], graph: Graph, cache: Cache) -> dict[Path, tuple[str, float]]:
    """Recipes whose pictures are known by the page of their folder only, with what it says and their seconds.

    A recipe that the cache has drawn before is judged by its steps.
    """
    drawn = cache.titles("picture")
    return gallery.told(recipe for recipe, key in recipes.values() if graph.steps[key].title not in drawn)


def _find(targets: Sequence[Target | Recipe], only: str | None) -> tuple[dict[Path, Recipe | None], list[Path]]:
    """The recipes, by path, in the order given, and the folders among the targets."""
    found: dict[Path, Recipe | None] = {}
    folders = []
    for target in targets:
        if isinstance(target, Recipe):
            found[target.path] = target
            continue
        path = Path(target)
        if path.is_dir():
            inside = sorted(path.glob("*.toml"))
            if not inside:
                raise LandscapeError("no recipe in this folder", where=path, expected="files *.toml")
            folders.append(path)
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise LandscapeError("no such recipe or folder", where=path)
    chosen = {path: recipe for path, recipe in found.items() if only is None or fnmatch.fnmatch(path.stem, only)}
    if not chosen:
        what = f"no recipe matches '{only}'" if found else "there is no recipe to render"
        raise LandscapeError(what, mend="there are " + ", ".join(path.stem for path in found) if found else None)
    return chosen, folders


def _folder(recipe: Recipe, output: Target | None) -> Path:
    """Where the picture of a recipe goes."""
    own = recipe.path.parent / gallery.FOLDER
    if recipe.size == FULL:
        return own if output is None else Path(output)
    chosen = recipe.path.parent / gallery.SIZED_FOLDER.format(recipe.size) if output is None else Path(output)
    if chosen.resolve() == own.resolve():
        raise LandscapeError(
            f"{recipe.size} pictures would overwrite those of the full size",
            where=chosen,
            mend="choose another folder",
        )
    return chosen


def _load(
    found: Mapping[Path, Recipe | None], graph: Graph, size: str
) -> tuple[dict[Path, tuple[Recipe, str]], dict[Path, RecipeReport]]:
    """The recipes with the keys of their pictures, and reports of those that are wrong."""
    recipes, reports = {}, {}
    for path, given in found.items():
        try:
            recipe = given or load(path, size=size)
            recipes[path] = recipe, graph.add(recipe)
        except RecipeError as error:
            reports[path] = RecipeReport(path, "faulty", faults=error.faults)
        except LandscapeError as error:
            reports[path] = RecipeReport(
                path, "faulty", faults=(Fault(1, "", str(error).removeprefix(f"{path}: ")),)
            )
    return recipes, reports


def _conclude(
    path: Path, own: Sequence[str], steps: Mapping[str, StepReport], seconds: Mapping[str, float]
) -> RecipeReport:
    """Report on the steps of a recipe that has no picture yet."""
    failures = tuple(failure for key in own if (failure := steps[key].failure) is not None)
    state = "planned" if steps[own[-1]].state == "planned" else "failed"
    return RecipeReport(path, state, seconds=sum(seconds[key] for key in own), steps=tuple(own), failures=failures)


def _deliver(cache: Cache, step: Step, folder: Path, name: str, dry_run: bool) -> tuple[list[Path], bool]:
    """Put a picture and its numbers into the gallery: their places, and whether something was missing there."""
    record = cache.record(step) or {"files": {}}
    files = {suffix: cache.path(step.kind, step.key, suffix) for suffix in record["files"]}
    return gallery.deliver(files, folder, name, dry_run)


def _pages(
    folders: Sequence[Path],
    told: Report,
    recipes: Mapping[Path, tuple[Recipe, str]],
    seconds: Mapping[str, float],
    known: Mapping[Path, str],
) -> list[Path]:
    """The pages of folders of which every recipe has its picture; others keep the page they have."""
    pages = []
    for folder in folders:
        own = [report for report in told.recipes if report.path.parent == folder]
        if all(report.state in ("made", "current") for report in own):
            entries = [(recipes[report.path][0], report.seconds) for report in own]
            # What recipes share took its time once; of those known by the page only, the page knows their sum.
            shared = {key for report in own for key in report.steps}
            total = sum(report.seconds for report in own if not report.steps) + sum(seconds[key] for key in shared)
            pages.append(gallery.write_page(folder, entries, total, known))
    return pages
