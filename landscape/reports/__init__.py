"""Reports: all that is known of a run on one page, with how far to believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

if TYPE_CHECKING:
    from landscape.reports.options import ReportOptions as ReportOptions
    from landscape.reports.run_report import report_of as report_of

_HOME = {"ReportOptions": "options", "report_of": "run_report"}
__all__ = [*_HOME]

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)
