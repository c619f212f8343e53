"""DuckDB over columnar files as the engine for questions about everybody."""

from tailorbird.storage.batch.duck import DuckBatch
from tailorbird.storage.batch.fitting import FittingBatch, attach_columns

__all__ = ["DuckBatch", "FittingBatch", "attach_columns"]
