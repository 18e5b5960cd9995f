"""Studies: train and measure a family of networks, and correlate measures with what they are to predict."""

from landscape.study.load import load
from landscape.study.run_study import StudyReport, run
from landscape.study.tables import save_tables
from landscape.study.values import TARGETS, Net, Statistics, Study

__all__ = ["TARGETS", "Net", "Statistics", "Study", "StudyReport", "load", "run", "save_tables"]
