"""Widths of figures: names of columns and of venues, in inches."""

from __future__ import annotations

import math

from landscape.errors import LandscapeError, did_you_mean

ONE_COLUMN = 3.4
"""Inches: fits one column of the common two-column journals and conferences (3.25 to 3.5)."""
TWO_COLUMNS = 7.0
"""Inches: fits the full text width of the same pages (6.75 to 7.2)."""
_MM = 1 / 25.4
WIDTHS: dict[str, float] = {
    "one-column": ONE_COLUMN,
    "two-columns": TWO_COLUMNS,
    # neurips_2024.sty: \textwidth 5.5 in.
    "neurips": 5.5,
    # iclr2025_conference.sty: \textwidth 5.5 true in.
    "iclr": 5.5,
    # icml2025.sty and its example paper: 6.75 in of text, two columns of 3.25 in, 0.25 in apart.
    "icml": 6.75,
    "icml-column": 3.25,
    # aistats2025.sty: the same page as that of ICML.
    "aistats": 6.75,
    "aistats-column": 3.25,
    # jmlr2e.sty: \textwidth 6 in (jmlr.org/format/format.html).
    "jmlr": 6.0,
    # tmlr.sty: \textwidth 6.5 in (jmlr.org/tmlr/author-guide.html).
    "tmlr": 6.5,
    # cvpr.sty and its instructions: 6 7/8 in of text, columns of 3 1/4 in, 5/16 in apart. ICCV has the same.
    "cvpr": 6.875,
    "cvpr-column": 3.25,
    # llncs.cls, which ECCV takes: 122 mm (eccv2024.ecva.net, submission policies).
    "eccv": 122 * _MM,
    # nature.com/nature/for-authors/final-submission: 89 mm single, 183 mm double.
    "nature": 183 * _MM,
    "nature-column": 89 * _MM,
    # IEEE Author Center, "Resolution and size": one column 3.5 in, two columns 7.16 in.
    "ieee": 7.16,
    "ieee-column": 3.5,
    # pnas.org, digital art guidelines: 8.7 cm for one column, 17.8 cm for two.
    "pnas": 178 * _MM,
    "pnas-column": 87 * _MM,
}
"""Name -> inches; ``"-column"`` is one column of a page that has two."""

# Inches: a poster; more is a slip of the unit.
_WIDEST = 100.0


def inches_of(width: str | float) -> float:
    """The width of a figure.

    Args:
        width: A name in `WIDTHS`, or inches.

    Returns:
        Inches.

    Raises:
        LandscapeError: If the name is not known, or the number makes no sense.

    Example:
        >>> inches_of("neurips")
        5.5
    """
    if isinstance(width, str):
        if width not in WIDTHS:
            raise LandscapeError(
                f"there is no width '{width}'",
                where="width",
                mend=did_you_mean(width, WIDTHS) + " or give a number of inches",
            )
        return WIDTHS[width]
    return length(width, "width")


def length(value: float, where: str) -> float:
    """A number of inches that a page can have.

    Raises:
        LandscapeError: If it is not one.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not 0 < value <= _WIDEST:
        raise LandscapeError(
            "a page cannot have this size",
            where=where,
            got=value,
            expected=f"inches, more than 0 and at most {_WIDEST:g}",
        )
    return float(value)
