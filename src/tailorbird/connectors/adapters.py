"""The CRM adapters of one engine: where they come from, in which order they are asked, and how they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from threading import Lock
from typing import Final

from tailorbird.core.context import SECOND
from tailorbird.core.crm import CrmContext
from tailorbird.errors import InvalidInput
from tailorbird.ports import CrmAdapter

__all__ = ["GROUP", "Desk", "load_adapters"]

GROUP: Final = "tailorbird.crm_adapters"
"""The group of entry points under which installed packages offer adapters."""

_PAUSE: Final = 5 * SECOND
"""How long an adapter that failed is left alone before it is connected again."""


def load_adapters(names: str = "") -> list[CrmAdapter]:
    """Return the adapters named in the settings (``package.module:Name``, commas between), then those of installed packages.

    Each name is called without arguments. Raises ``InvalidInput`` naming what cannot be loaded.
    """
    found = [_load(name.strip()) for name in names.split(",") if name.strip()]
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return found + [_made(f"the entry point {point.name} ({point.value})", point.load) for point in points]


class Desk:
    """Asks the adapters in turn until one knows the contact, and keeps note of how each does.

    An adapter is connected before its first question; after a failure it is left alone for five seconds, then tried again.
    """

    def __init__(self, adapters: Iterable[CrmAdapter], now: Callable[[], int]) -> None:
        self.adapters: dict[str, CrmAdapter] = {}
        for adapter in adapters:
            if adapter.name in self.adapters:
                raise InvalidInput(f"two CRM adapters are called {adapter.name}", hint="Give one of them another name.")
            self.adapters[adapter.name] = adapter
        self._now = now
        self._states = dict.fromkeys(self.adapters, "idle")
        self._failed_at: dict[str, int] = {}
        self._lock = Lock()

    def states(self) -> dict[str, str]:
        """Return ``connected``, ``failing`` or ``idle`` for each adapter."""
        return dict(self._states)

    def fetch(self, contact_id: str, limit: int, order: Sequence[str] = ()) -> tuple[CrmContext | None, tuple[str, ...]]:
        """Return what the first adapter that knows the contact says, and which ones did not answer on the way."""
        failed = []
        for name in order or tuple(self.adapters):
            adapter = self.adapters.get(name)
            if adapter is None:
                failed.append(f"CRM {name} (there is no such adapter)")
            elif not self.ready(name):
                failed.append(f"CRM {name} (does not answer)")
            else:
                try:
                    found = adapter.fetch(contact_id, interaction_limit=limit)
                except Exception:  # whatever a third party's code raises must not take the answer away
                    self._note(name, "failing")
                    failed.append(f"CRM {name} (does not answer)")
                    continue
                if found is not None:
                    return found, tuple(failed)
        return None, tuple(failed)

    def ready(self, name: str) -> bool:
        """Return whether an adapter is connected, after connecting it where that is due."""
        if self._states[name] == "connected":
            return True
        with self._lock:
            if self._states[name] == "connected":
                return True
            if self._states[name] == "failing" and self._now() - self._failed_at[name] < _PAUSE:
                return False
            try:
                self.adapters[name].connect()
            except Exception:
                self._note(name, "failing")
                return False
            self._note(name, "connected")
            return True

    def _note(self, name: str, state: str) -> None:
        if state == "failing":
            self._failed_at[name] = self._now()
        self._states[name] = state


def _load(name: str) -> CrmAdapter:
    module, mark, attribute = name.partition(":")
    if not mark or not module or not attribute:
        raise InvalidInput(f"the CRM adapter {name!r:.100} is not package.module:Name", hint="Correct TAILORBIRD_CRM_ADAPTERS.")
    return _made(f"the CRM adapter {name}", lambda: getattr(import_module(module), attribute))


def _made(about: str, load: Callable[[], Callable[[], CrmAdapter]]) -> CrmAdapter:
    try:
        adapter = load()()
    except Exception as error:
        raise InvalidInput(f"{about} cannot be loaded: {type(error).__name__}: {error}", hint="See write-an-adapter.") from error
    missing = [part for part in ("name", "connect", "fetch", "upsert", "delete") if not hasattr(adapter, part)]
    if missing:
        raise InvalidInput(f"{about} lacks {', '.join(missing)}", hint="An adapter has a name and four methods.")
    return adapter
