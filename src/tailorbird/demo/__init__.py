"""The demonstration shop: people who do not exist, what they did in 120 days, and definitions to look at them with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tailorbird.demo.generator import rows

__all__ = ["DEFINITIONS", "TEMPLATES", "rows"]

DEFINITIONS: Final = Path(__file__).parent / "definitions"
"""The folder of definitions that belongs to the shop."""

TEMPLATES: Final = Path(__file__).parent / "templates"
"""The folder of its templates, which need the extra ``content``."""
