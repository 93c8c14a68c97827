"""The true video as the history."""

from fp_lab.flow.history_sources import HISTORY_SOURCES
from fp_lab.training.history.source import HistorySource


@HISTORY_SOURCES.register("true")
class TrueHistory(HistorySource):
    """Teacher forcing: the history is the true video, which the model never has while it samples."""
