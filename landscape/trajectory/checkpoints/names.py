"""Names in a checkpoint -> names in a model: spellings, wrappers, and the trees that names are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

# How hooks (torch.nn.utils.weight_norm, spectral_norm) and parametrizations write the parts of one tensor. The
# first part tells the kinds apart.
_SPELLINGS = (
    {"_g": "parametrizations.{}.original0", "_v": "parametrizations.{}.original1"},
    {
        "_orig": "parametrizations.{}.original",
        "_u": "parametrizations.{}.0._u",
        "_v": "parametrizations.{}.0._v",
    },
)


def canonical_names(names: Collection[str]) -> dict[str, str]:
    """Name -> how torch.nn.utils.parametrize writes it, where all parts of a reparametrised tensor are there.

    Example:
        >>> canonical_names(["0.weight_g", "0.weight_v", "0.bias", "1.weight_v"])["0.weight_v"]
        '0.parametrizations.weight.original1'
    """
    present = set(names)
    found = {name: name for name in names}
    for spelling in _SPELLINGS:
        first = next(iter(spelling))
        for name in names:
            whole = name.removesuffix(first)
            tensor = whole.rsplit(".", 1)[-1]
            if whole == name or not tensor or not all(whole + ending in present for ending in spelling):
                continue
            before = whole[: len(whole) - len(tensor)]
            for ending, pattern in spelling.items():
                written = before + pattern.format(tensor)
                if written not in present:
                    found[whole + ending] = written
    return found


Shape: TypeAlias = tuple[int, ...]

# What wrappers put into names: DataParallel, DistributedDataParallel and AveragedModel; torch.compile; activation
# checkpointing; FSDP, now and before torch 2.
WRAPPERS = ("module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_fpw_module")
# No module is nested deeper; a file must not choose how deep a recursion goes.
_DEEPEST = 100


@dataclass
class Node:
    """A part of dotted names, with what comes behind it.

    Attributes:
        children: Next part -> its node.
        name: The whole name of the tensor that ends here; None if none does.
        shape: The shape of that tensor.
    """

    children: dict[str, Node] = field(default_factory=dict)
    name: str | None = None
    shape: Shape = ()


@dataclass(frozen=True)
class Alignment:
    """Names of one tree with their names in another.

    Attributes:
        pairs: (name, target, whether their shapes are the same); no name and no target comes twice.
    """

    pairs: tuple[tuple[str, str, bool], ...] = ()

    @property
    def targets(self) -> dict[str, str]:
        """Name -> target."""
        return {name: target for name, target, _ in self.pairs}

    @property
    def score(self) -> tuple[int, int]:
        """Number of shapes that fit, and number of names."""
        return sum(fits for _, _, fits in self.pairs), len(self.pairs)


def tree_of(spelled: Mapping[str, str], shapes: Mapping[str, Shape]) -> Node:
    """The tree of some names.

    Args:
        spelled: Name -> how it is written in the tree.
        shapes: Name -> shape.
    """
    root = Node()
    for name, text in spelled.items():
        node = root
        for part in text.split(".", _DEEPEST):
            node = node.children.setdefault(part, Node())
        node.name, node.shape = name, shapes[name]
    return root


def nodes_at(root: Node, parts: Sequence[str]) -> Iterator[Node]:
    """The nodes at a path, whatever wrappers stand in it."""
    if not parts:
        yield root
        return
    for part, child in root.children.items():
        if part == parts[0]:
            yield from nodes_at(child, parts[1:])
        elif part in WRAPPERS:
            yield from nodes_at(child, parts)


def align(found: Node, model: Node) -> Alignment:
    """Names of a checkpoint under those of a model, as they are but for wrappers on either side.

    A part that both have is taken as it is, unless more tensors fit without it: a submodule that is called
    ``module`` stays, and a wrapper in front of it goes.

    Args:
        found: The tree of the checkpoint.
        model: The tree of the model.

    Returns:
        The alignment in which most shapes fit; the first of several, with the fewest wrappers taken away.
    """
    return _align(found, model, {})


def _align(found: Node, model: Node, known: dict[tuple[int, int], Alignment]) -> Alignment:
    key = (id(found), id(model))
    if key not in known:
        direct = _children(found, model, known)
        choices = [direct]
        for wrapper in WRAPPERS:
            inner = [
                _align(found.children[wrapper], model, known) if wrapper in found.children else None,
                _align(found, model.children[wrapper], known) if wrapper in model.children else None,
            ]
            choices += [_union(one, direct) for one in inner if one is not None and one.pairs]
        # The first of those that are best.
        known[key] = max(choices, key=lambda one: one.score)
    return known[key]


def _children(found: Node, model: Node, known: dict[tuple[int, int], Alignment]) -> Alignment:
    pairs: list[tuple[str, str, bool]] = []
    if found.name is not None and model.name is not None:
        pairs.append((found.name, model.name, found.shape == model.shape))
    for part, child in found.children.items():
        if part in model.children:
            pairs += _align(child, model.children[part], known).pairs
    return Alignment(tuple(pairs))


def _union(first: Alignment, second: Alignment) -> Alignment:
    """The pairs of the first, and those of the second that repeat neither a name nor a target."""
    names, targets = ({pair[side] for pair in first.pairs} for side in (0, 1))
    rest = (pair for pair in second.pairs if pair[0] not in names and pair[1] not in targets)
    return Alignment((*first.pairs, *rest))


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
    """Strip from names what wrappers added; keep them where two would become the same.

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
    """Describe the renaming where the two sides write reparametrised weights in different ways."""
    sides = [any(name != text for name, text in side.items()) for side in (spelled, wanted)]
    if sides[0] == sides[1]:
        return ""
    old = spelled if sides[0] else wanted
    first = next(name for name, text in old.items() if name != text)
    here, there = first.rsplit(".", 1)[-1], old[first][old[first].rindex("parametrizations.") :]
    return f"'{here}' read as '{there}'" if sides[0] else f"'{there}' read as '{here}'"
