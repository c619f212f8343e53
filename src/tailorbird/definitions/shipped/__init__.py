"""The definitions that hold as long as a team has not applied its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["PERSONALIZATION"]

PERSONALIZATION: Final = Path(__file__).parent / "personalization.yaml"
"""The rules of the segmentation and personalization service."""
