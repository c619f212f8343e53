"""Personalization for the CRM a team already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailorbird.core.context import ManualClock as ManualClock
    from tailorbird.engine import Engine as Engine
    from tailorbird.errors import TailorbirdError as TailorbirdError

__all__ = ["Engine", "ManualClock", "TailorbirdError", "__version__"]

__version__ = "0.1.0"

_HOMES = {"Engine": "tailorbird.engine", "ManualClock": "tailorbird.core.context", "TailorbirdError": "tailorbird.errors"}


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for: ``import tailorbird.errors`` alone stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tailorbird' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
