"""The log of a server: what happened and where, never to whom and never with what; one JSON object a line, on stderr."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger

__all__ = ["Log", "fault", "open_log"]

Log = FilteringBoundLogger


def open_log(level: str = "info", *, to: TextIO | None = None) -> Log:
    """Return a log that writes to a stream (stderr by default)."""
    log: Log = structlog.wrap_logger(
        structlog.WriteLogger(to or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level.upper(), logging.INFO)),
        cache_logger_on_first_use=False,
    )
    return log


def fault(log: Log, where: str, error: BaseException) -> None:
    """Log a defect by its type and the lines it passed through; its text is left out, for it may quote what people sent."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    lines = [f"{frame.filename.rpartition('/tailorbird/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    log.error("fault", where=where, error=type(error).__name__, lines=lines)
