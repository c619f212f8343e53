"""DuckDB over columnar files as the engine for questions about everybody."""

from tailorbird.storage.batch.duck import DuckBatch

__all__ = ["DuckBatch"]
