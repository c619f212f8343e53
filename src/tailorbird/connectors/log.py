"""The connector that sends nothing: it notes what would have been sent; for trying out, simulation and tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tailorbird.core.action import Action, Outcome

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["LogConnector"]


class LogConnector:
    """Logs key, kind and channel of each action, never its payload, and keeps the last ``keep`` in ``sent``.

    It drops a key it has kept, as a provider that honours idempotency keys does. ``outcomes`` scripts what the next
    attempts yield, for trying out failures; when it is empty they succeed.
    """

    honours_idempotency = True

    def __init__(self, name: str = "log", *, keep: int = 10_000) -> None:
        self.name = name
        self.sent: list[Action] = []
        self.outcomes: list[Outcome] = []
        self._keep = keep
        self._keys: set[str] = set()
        self._lock = threading.Lock()
        self._log: FilteringBoundLogger | None = None

    def destination(self, action: Action) -> str:
        """Return the channel: what goes over one channel fails together."""
        return action.channel or ""

    def perform(self, action: Action) -> Outcome:
        """Note the action and succeed, unless the next of ``outcomes`` says otherwise."""
        with self._lock:
            outcome = self.outcomes.pop(0) if self.outcomes else Outcome(ok=True)
            if outcome.ok and action.key not in self._keys:
                self._keys.add(action.key)
                self.sent.append(action)
                if len(self.sent) > self._keep:
                    self._keys.discard(self.sent.pop(0).key)
        self._logger().info("action", key=action.key, kind=action.kind, channel=action.channel, ok=outcome.ok)
        return outcome

    def close(self) -> None:
        """Nothing is held open."""

    def _logger(self) -> FilteringBoundLogger:
        if self._log is None:
            import structlog  # here, because most commands open an engine and never log an action

            self._log = structlog.get_logger("tailorbird.connectors.log")
        return self._log
