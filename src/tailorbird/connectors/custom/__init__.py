"""A CRM of one's own, spoken to by a description in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tailorbird.connectors.custom.connector import CustomConnector
from tailorbird.connectors.custom.reader import read_spec
from tailorbird.connectors.custom.spec import Spec
from tailorbird.connectors.providers import Provider
from tailorbird.connectors.rest.auth import Auth
from tailorbird.core.context import Clock
from tailorbird.core.event import Json
from tailorbird.errors import InvalidInput

__all__ = ["PROVIDER", "CustomConnector", "Spec", "load_spec", "read_spec"]


def load_spec(given: str) -> Spec:
    """Return the connector of a YAML file (its path), or of a text that is YAML already; raises ``InvalidDefinition``."""
    if "\n" in given:
        return read_spec(given)
    try:
        return read_spec(Path(given).read_text(encoding="utf-8"), given)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{given!r:.200} cannot be read ({type(error).__name__}).", hint="Give the path of a YAML file."
        ) from None


def _open(
    name: str, *, secret: Mapping[str, str], settings: Mapping[str, Json], clock: Clock, auth: Auth | None = None
) -> CustomConnector:
    given = settings.get("spec")
    if not isinstance(given, str) or not given:
        raise InvalidInput(f"{name}: the setting spec is missing.", hint="Give the path of a YAML file, or its content.")
    url = settings.get("url")
    return CustomConnector(
        name, load_spec(given), secret=secret, auth=auth, url=url if isinstance(url, str) else None, clock=clock,
        allow_private=settings.get("allow_private") is True,
    )  # fmt: skip


PROVIDER: Final = Provider(
    name="custom", label="A CRM of your own", open=_open, asks={"key": "API key"},
    settings={"spec": "Path of the YAML file that describes it", "url": "Its address, where it is not the file's"},
)  # fmt: skip
