"""Names in a checkpoint -> names in a model, where wrappers have put something before them or inside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

# torch.compile, wherever a module was compiled; DataParallel and DistributedDataParallel, in front.
_COMPILED = "_orig_mod"
_PARALLEL = "module"

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
    """A name as the model has it that was wrapped by torch.compile, DataParallel or DistributedDataParallel.

    Example:
        >>> without_wrappers("module._orig_mod.layers.0._orig_mod.weight")
        'layers.0.weight'
    """
    parts = [part for part in name.split(".") if part != _COMPILED]
    while len(parts) > 1 and parts[0] == _PARALLEL:
        parts = parts[1:]
    return ".".join(parts)


def unwrapped(names: Sequence[str]) -> Renaming:
    """How names read without what wrappers added; as they are, where that would make two of them the same.

    ``module.`` is taken away only if every name begins with it.
    """
    wrapped = all(name.startswith((f"{_PARALLEL}.", f"{_COMPILED}.{_PARALLEL}.")) for name in names)
    targets = {
        name: without_wrappers(name) if wrapped else ".".join(p for p in name.split(".") if p != _COMPILED)
        for name in names
    }
    if len(set(targets.values())) < len(targets) or not all(targets.values()):
        targets = {name: name for name in names}
    return Renaming(_words(targets), targets)


def renamings(known: Collection[str], names: Sequence[str]) -> Iterator[Renaming]:
    """Ways to read the names of a checkpoint, the simplest first.

    As they are; without wrappers; with one prefix taken away (``model.``, ``net.``, any attributes); with one
    put before (a Hugging Face base model inside one with a head); with the name of an adapter put in. With
    prefixes, names that they do not fit and the model knows are taken as they are.

    Args:
        known: The names of the model.
        names: The names in the checkpoint.

    Yields:
        Renamings in which no two names become the same.
    """
    plain = {without_wrappers(name): name for name in known}
    if len(plain) < len(known):
        plain = {name: name for name in known}
    cleaned = {name: without_wrappers(name) for name in names}
    yield Renaming("", {name: name for name in names if name in known})
    wrappers = {name: plain[text] for name, text in cleaned.items() if text in plain}
    if _unique(wrappers):
        yield Renaming(_words({name: cleaned[name] for name in wrappers}), wrappers)
    for prefix, _ in _beginnings(cleaned.values(), plain).most_common(_TRIED):
        yield from _with_prefix(prefix, cleaned, plain, stripped=True)
    for prefix, _ in _beginnings(plain, set(cleaned.values())).most_common(_TRIED):
        yield from _with_prefix(prefix, cleaned, plain, stripped=False)
    for adapter in dict.fromkeys(filter(None, map(_adapter_of, plain))):
        bare = {text.replace(f".{adapter}.", ".", 1): name for text, name in plain.items() if _adapter_of(text)}
        targets = {name: bare[text] for name, text in cleaned.items() if text in bare}
        if targets and _unique(targets):
            yield Renaming(f"'.{adapter}' added", targets)


def is_of_adapter(name: str) -> bool:
    """Whether a tensor belongs to an adapter.

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


def _beginnings(long: Collection[str], short: Collection[str]) -> Counter[str]:
    """Prefix -> how many of the long names are that prefix before a short one."""
    found: Counter[str] = Counter()
    for name in long:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            if ".".join(parts[cut:]) in short:
                found[".".join(parts[:cut])] += 1
    return found


def _with_prefix(
    prefix: str, cleaned: Mapping[str, str], plain: Mapping[str, str], *, stripped: bool
) -> Iterator[Renaming]:
    start = f"{prefix}."
    targets, seen = {}, {}
    for name, text in cleaned.items():
        if stripped and not text.startswith(start):
            continue
        moved = text.removeprefix(start) if stripped else start + text
        if moved in plain:
            targets[name], seen[name] = plain[moved], text
    taken = set(targets.values())
    for name, text in cleaned.items():
        if name not in targets and text in plain and plain[text] not in taken:
            targets[name] = plain[text]
    if _unique(targets):
        done = f"'{start}' {'stripped' if stripped else 'added'}"
        yield Renaming(", ".join(part for part in (_words(seen), done) if part), targets, prefix)


def _unique(targets: Mapping[str, str]) -> bool:
    return len(set(targets.values())) == len(targets)


def _words(targets: Mapping[str, str]) -> str:
    """Which wrappers' prefixes were taken away between names and what they became."""
    gone = {
        part
        for name, text in targets.items()
        if name != text
        for part in (_PARALLEL, _COMPILED)
        if name.split(".").count(part) > text.split(".").count(part)
    }
    return ", ".join(f"'{part}.' stripped" for part in (_PARALLEL, _COMPILED) if part in gone)
