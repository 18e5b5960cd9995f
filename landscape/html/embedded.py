"""Numbers and scripts inside a page: JSON that cannot end its element, and arrays as packed bytes."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import LandscapeError

# Names of plotly.js for the types of typed arrays, which base.js reads as well.
_TYPES = {
    **{np.dtype(f"f{size}"): f"f{size}" for size in (4, 8)},
    **{np.dtype(f"i{size}"): f"i{size}" for size in (1, 2, 4)},
    **{np.dtype(f"u{size}"): f"u{size}" for size in (1, 2, 4)},
}


def packed(values: NDArray[Any]) -> dict[str, str]:
    """An array as plotly.js and ``base.js`` read it: ``bdata`` in base64, little-endian, ``dtype`` and ``shape``.

    NaN and infinities stay what they are. Booleans become bytes, and integers of 8 bytes float64.

    Example:
        >>> packed(np.array([[1.0, 2.0]], dtype=np.float32))
        {'bdata': 'AACAPwAAAEA=', 'dtype': 'f4', 'shape': '1, 2'}
    """
    values = np.asarray(values)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    elif values.dtype not in _TYPES:
        values = values.astype(np.float64)
    raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    shape = ", ".join(map(str, values.shape))
    return {"bdata": base64.b64encode(raw).decode(), "dtype": _TYPES[values.dtype], "shape": shape}


def json_text(value: Any) -> str:
    """A value as JSON that may stand inside a script element.

    Arrays are packed (see `packed`). A float that is not finite is null where it is NaN, otherwise the text
    ``"Infinity"`` or ``"-Infinity"``. No ``<``, ``>``, ``&`` and no line separator of JavaScript is left, so that
    neither ``</script>`` nor ``<!--`` can end or change the element.

    Example:
        >>> json_text({"name": "</script>", "loss": float("nan")})
        '{"name":"\\\\u003c/script\\\\u003e","loss":null}'
    """
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "UO":
            return _plain(value.tolist())
        return packed(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value


def require_embeddable(script: str) -> str:
    """A script that may stand inside a script element.

    Raises:
        LandscapeError: If it holds ``</script`` or ``<!--``, which an HTML parser reads as its own.
    """
    if found := re.search(r"</script|<!--", script, re.IGNORECASE):
        raise LandscapeError("a script cannot be put into a page", got=f"'{found[0]}' in it")
    return script
