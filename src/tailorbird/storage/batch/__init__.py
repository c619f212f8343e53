"""DuckDB over columnar files as the engine for questions about everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tailorbird.storage.batch.fitting import FittingBatch, attach_columns

if TYPE_CHECKING:
    from tailorbird.storage.batch.duck import DuckBatch as DuckBatch

__all__ = ["DuckBatch", "FittingBatch", "attach_columns"]


def __getattr__(name: str) -> Any:
    """Import DuckDB when it is asked for: small databases never need it."""
    if name != "DuckBatch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tailorbird.storage.batch.duck import DuckBatch

    return DuckBatch
