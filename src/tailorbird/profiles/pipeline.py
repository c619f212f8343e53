"""The pipeline of deals: the stages of an open deal and how likely it is won in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tailorbird.core.event import Json
from tailorbird.errors import Mistake

__all__ = ["Pipeline", "check_pipeline", "parse_pipeline"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages in their order, each with the probability (0 to 1) that a deal in it is won."""

    name: str
    stages: tuple[tuple[str, float], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names in their order."""
        return tuple(name for name, _ in self.stages)


def parse_pipeline(name: str, spec: Mapping[str, Json]) -> Pipeline:
    """Return the pipeline of a definition."""
    return Pipeline(name, tuple((stage["name"], float(stage["probability"])) for stage in spec["stages"]))


def check_pipeline(spec: Mapping[str, Json]) -> list[Mistake]:
    """Return everything that is wrong with the spec of a ``pipeline`` definition beyond its fields.

    >>> [m.message for m in check_pipeline({"stages": [{"name": "won", "probability": 1}]})]
    ['won is no stage of an open deal']
    """
    names = [stage.get("name") for stage in spec.get("stages") or () if isinstance(stage, dict)]
    mistakes = [
        Mistake("duplicate", f"{name} stands twice", where="stages")
        for name in dict.fromkeys(names) if name is not None and names.count(name) > 1
    ]  # fmt: skip
    return mistakes + [
        Mistake("invalid_value", f"{name} is no stage of an open deal", "deals are won and lost by a verb", where="stages")
        for name in ("won", "lost") if name in names
    ]  # fmt: skip
