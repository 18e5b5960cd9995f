"""Names in a checkpoint -> names in a model, where wrappers have put something before them or inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from landscape.trajectory.checkpoints.name_tree import WRAPPERS, Node, Shape, align, nodes_at, tree_of
from landscape.trajectory.checkpoints.spellings import canonical_names

# DataParallel, DistributedDataParallel and AveragedModel: a name that a model's own submodule can have.
_PARALLEL = WRAPPERS[0]
# What AveragedModel (torch.optim.swa_utils) keeps beside the model that it wraps.
_COUNTER = "n_averaged"

# What the tensors of adapters (peft's) are called; the part after it names the adapter, and is not in its file.
_ADAPTERS = ("lora_", "ia3_", "vera_", "hada_", "lokr_", "oft_", "boft_")
# Prefixes are tried in order of how many names they fit; the right one is never far down.
_TRIED = 8


@dataclass(frozen=True)
class Renaming:
    """One way to read the names of a checkpoint.

    Attributes:
        words: What it does to them; empty if nothing.
        targets: Name in the checkpoint -> name in the model; what it does not fit is left out.
        beginning: The prefix that it takes away or puts before, beyond those of wrappers; empty if none.
    """

    words: str
    targets: Mapping[str, str]
    beginning: str = ""


def without_wrappers(name: str) -> str:
    """A name as the model has it that was wrapped; ``module`` can be a submodule's own name except in front.

    Example:
        >>> without_wrappers("module._orig_mod.layers.0._checkpoint_wrapped_module.weight")
        'layers.0.weight'
    """
    parts = name.split(".")
    parts = [part for part in parts[:-1] if part == _PARALLEL or part not in WRAPPERS] + parts[-1:]
    while len(parts) > 1 and parts[0] == _PARALLEL:
        parts = parts[1:]
    return ".".join(parts)


def is_counter(name: str) -> bool:
    """Return whether a tensor counts for a wrapper, which no model has.

    Example:
        >>> is_counter("module.n_averaged")
        True
    """
    return name.rsplit(".", 1)[-1] == _COUNTER


def unwrapped(names: Sequence[str]) -> Renaming:
    """How names read without what wrappers added; as they are, where that would make two of them the same.

    ``module.`` is taken away only if every name begins with it, but for the counter of an averaged model.
    """
    cleaned = {name: without_wrappers(name) for name in names}
    own = [name for name in names if not is_counter(name)]
    parallel = all(_prefixed(name) != cleaned[name] for name in own)
    if parallel and own:
        targets = {name: cleaned[name] for name in own}
    else:
        targets = {name: _prefixed(name) for name in names}
    if not _unique(targets):
        targets = {name: name for name in names}
    return Renaming(_words(targets), targets)


def _prefixed(name: str) -> str:
    """A name without wrappers' own parts, but with ``module`` wherever it stands."""
    return ".".join(part for part in name.split(".") if part == _PARALLEL or part not in WRAPPERS)


def renamings(known: Mapping[str, Shape], names: Mapping[str, Shape]) -> Iterator[Renaming]:
    """Ways to read the names of a checkpoint, the simplest first.

    As they are; without wrappers, wherever these stand in a name on either side; with one prefix taken away
    (``model.``, ``net.``, any attributes); with one put before (a Hugging Face base model inside one with a head);
    with the name of an adapter put in. With prefixes, names that they do not fit and the model knows are taken as
    they are. The two ways in which torch writes reparametrised weights are read as one.

    Args:
        known: The names of the model, with shapes.
        names: The names in the checkpoint, with shapes.

    Yields:
        Renamings in which no two names become the same.
    """
    yield Renaming("", {name: name for name in names if name in known})
    spelled, wanted = canonical_names(names), canonical_names(known)
    respelled = _respelled(spelled, wanted)
    found, model = tree_of(spelled, names), tree_of(wanted, known)
    plain = align(found, model).targets
    yield Renaming(_joined(_words(plain), respelled), plain)
    # Without repetition, in order: of prefixes that fit equally well the same is named each time.
    skeletons = [dict.fromkeys(map(_skeleton, side.values())) for side in (spelled, wanted)]
    for prefix, _ in _beginnings(*skeletons).most_common(_TRIED):
        for node in nodes_at(found, prefix):
            yield from _with_prefix(prefix, align(node, model).targets, plain, respelled, "stripped")
    for prefix, _ in _beginnings(*reversed(skeletons)).most_common(_TRIED):
        for node in nodes_at(model, prefix):
            yield from _with_prefix(prefix, align(found, node).targets, plain, respelled, "added")
    yield from _with_adapter(found, known, wanted)


def _with_prefix(
    prefix: Sequence[str], inside: Mapping[str, str], plain: Mapping[str, str], respelled: str, done: str
) -> Iterator[Renaming]:
    taken = set(inside.values())
    rest = {name: target for name, target in plain.items() if name not in inside and target not in taken}
    beginning = ".".join(prefix)
    words = _joined(_words(inside), f"'{beginning}.' {done}", respelled)
    if inside:
        yield Renaming(words, {**inside, **rest}, beginning)


def _with_adapter(found: Node, known: Mapping[str, Shape], wanted: Mapping[str, str]) -> Iterator[Renaming]:
    for adapter in dict.fromkeys(filter(None, map(_adapter_of, wanted.values()))):
        bare = {name: text.replace(f".{adapter}.", ".", 1) for name, text in wanted.items() if _adapter_of(text)}
        if _unique(bare):
            pairs = align(found, tree_of(bare, known)).targets
            yield Renaming(_joined(_words(pairs), f"'.{adapter}' added"), pairs)


def is_of_adapter(name: str) -> bool:
    """Return whether a tensor belongs to an adapter.

    Example:
        >>> is_of_adapter("model.q.lora_A.weight"), is_of_adapter("model.q.weight")
        (True, False)
    """
    return any(part.startswith(_ADAPTERS) for part in name.split("."))


def _adapter_of(name: str) -> str | None:
    """The name of the adapter that a tensor of a model is of, ``default`` say."""
    parts = name.split(".")
    places = [place for place, part in enumerate(parts[:-2]) if part.startswith(_ADAPTERS)]
    return parts[places[0] + 1] if places else None


def _skeleton(name: str) -> tuple[str, ...]:
    parts = name.split(".")
    return (*(part for part in parts[:-1] if part not in WRAPPERS), parts[-1])


def _beginnings(long: Collection[tuple[str, ...]], short: Collection[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    """Prefix -> how many of the long names are that prefix before a short one."""
    return Counter(name[:cut] for name in long for cut in range(1, len(name)) if name[cut:] in short)


def _unique(targets: Mapping[str, str]) -> bool:
    return len(set(targets.values())) == len(targets)


def _joined(*words: str) -> str:
    return ", ".join(filter(None, words))


def _words(targets: Mapping[str, str]) -> str:
    """Which wrappers' prefixes were taken away between names and what they became."""
    gone = {
        part
        for name, text in targets.items()
        if name != text
        for part in WRAPPERS
        if name.split(".").count(part) > text.split(".").count(part)
    }
    return ", ".join(f"'{part}.' stripped" for part in WRAPPERS if part in gone)


def _respelled(spelled: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    """What is said where the two sides write reparametrised weights in different ways."""
    sides = [any(name != text for name, text in side.items()) for side in (spelled, wanted)]
    if sides[0] == sides[1]:
        return ""
    old = spelled if sides[0] else wanted
    first = next(name for name, text in old.items() if name != text)
    here, there = first.rsplit(".", 1)[-1], old[first][old[first].rindex("parametrizations.") :]
    return f"'{here}' read as '{there}'" if sides[0] else f"'{there}' read as '{here}'"
