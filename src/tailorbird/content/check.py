"""Checking templates: loads what reads Liquid, or says what has to be installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType

from tailorbird.content.names import Known
from tailorbird.core.event import Json
from tailorbird.errors import InvalidTemplate, Mistake, NotInstalled

__all__ = ["check_definition", "check_source", "load"]


def load() -> ModuleType:
    """Return the module that reads and renders Liquid. Raises ``NotInstalled``."""
    try:
        from tailorbird.content import compiled
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("liquid", "markupsafe"):
            raise
        raise NotInstalled(
            "python-liquid is not installed; templates need it.", hint="pip install 'tailorbird[content]'"
        ) from None
    return compiled


def check_definition(name: str, spec: Mapping[str, Json], known: Known) -> Iterator[tuple[str, str, tuple[Mistake, ...]]]:
    """Yield (field, text, mistakes) for every text of a template in which something is wrong."""
    try:
        load()
        from tailorbird.content.analysis import check_spec

        yield from check_spec(name, spec, known)
    except NotInstalled as error:
        yield "type", "", (Mistake(error.code, error.message, error.hint),)


def check_source(text: str, known: Known, part: str = "body") -> None:
    """Raise ``InvalidTemplate`` with everything that is wrong with a text given directly."""
    load()
    from tailorbird.content.analysis import check_text

    found = check_text(text, known, part)
    if found:
        raise InvalidTemplate(text, found)
