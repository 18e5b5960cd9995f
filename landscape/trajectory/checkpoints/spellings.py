"""Two ways in which torch writes reparametrised tensors, read as one."""

from __future__ import annotations

from collections.abc import Collection

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
