"""The connector that reads the records of which webhooks told, out of the outbox."""

from __future__ import annotations

from typing import Any

from tailorbird.connectors.rest.errors import AuthExpired, AuthRevoked, Forbidden, RemoteError
from tailorbird.core.action import Action, Outcome
from tailorbird.core.connection import ConnectionStatus
from tailorbird.core.context import MINUTE
from tailorbird.engine.connections import Connections
from tailorbird.engine.syncing import FETCHER, Syncing
from tailorbird.errors import NotFound, TailorbirdError

__all__ = ["Fetching"]


class Fetching:
    """Reads one record per action; while its connection is paused or unauthorised, what waits is not counted as failed."""

    name = FETCHER
    honours_idempotency = True  # reading twice changes nothing

    def __init__(self, syncing: Syncing, connections: Connections) -> None:
        self._syncing = syncing
        self._connections = connections

    def destination(self, action: Action) -> str:
        """Return the connection: what one CRM does not answer holds back no other."""
        return f"crm:{action.payload.get('connection')}"

    def perform(self, action: Action) -> Outcome:
        """Read the record and take it in; one that is gone is noted as such."""
        payload: dict[str, Any] = action.payload
        try:
            connection = self._connections.get(payload["connection"])
            if connection.status in (ConnectionStatus.PAUSED, ConnectionStatus.UNAUTHORISED):
                return Outcome(ok=False, detail=f"{connection.name} is {connection.status}", again=MINUTE)
            self._syncing.fetch(connection.name, [payload["record"]], object=payload.get("object") or "")
        except NotFound as error:
            return Outcome(ok=False, detail=error.message, final=True)
        except (AuthExpired, AuthRevoked, Forbidden) as error:
            return Outcome(ok=False, detail=error.message, again=MINUTE)
        except RemoteError as error:
            return Outcome(ok=False, detail=error.message, retry_after=error.retry_after)
        except TailorbirdError as error:
            return Outcome(ok=False, detail=error.message)
        return Outcome(ok=True)

    def close(self) -> None:
        """Nothing is held open."""
