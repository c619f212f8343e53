"""The definitions that hold until a team applies its own: files of the package, read once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from tailorbird.core.definition import Definition, Kind, Status
from tailorbird.definitions.files import read

__all__ = ["PERSONALIZATION", "shipped"]

PERSONALIZATION: Final = Path(__file__).parent / "personalization.yaml"
"""The rules of the segmentation and personalization service."""


@lru_cache(maxsize=8)
def shipped(kind: Kind) -> Definition:
    """Return the shipped definition of a kind that always holds one: ``lifecycle`` or ``pipeline``; its version is 0."""
    name = {Kind.LIFECYCLE: "contact", Kind.PIPELINE: "sales"}[kind]
    document = read(Path(__file__).parent / f"{name}.yaml")[0]
    return Definition(
        kind=str(kind), name=name, version=0, status=Status.ACTIVE, spec=document.spec, digest=document.digest, created_at=0
    )
