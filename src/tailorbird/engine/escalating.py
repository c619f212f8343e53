"""Escalations: what only a person can mend is told, as an event and to people, once until it is mended."""

from __future__ import annotations

from typing import Final

from tailorbird.connectors.slack import SLACK, SlackConnector
from tailorbird.core.action import Action
from tailorbird.core.connection import Connection
from tailorbird.core.event import Event, Json
from tailorbird.core.ids import digest
from tailorbird.errors import Unavailable
from tailorbird.ports import Connector, Store, Unit
from tailorbird.runtime.ingest import OWN_IDS
from tailorbird.runtime.loop import Loop
from tailorbird.runtime.subscriptions import wants, webhook_action

__all__ = ["AUTH_FAILED", "Escalations"]

AUTH_FAILED: Final = "crm.auth_failed"
"""The event that a connection became unauthorised; data: ``connection provider error text``. It is about no profile."""

_TRIES: Final = 20


class Escalations:
    """Tells that a connection became unauthorised: an event in the log, a webhook to each subscription that asks for it, and a
    message on Slack where that is set up."""

    def __init__(self, store: Store, loop: Loop, connectors: dict[str, Connector]) -> None:
        self._store = store
        self._loop = loop
        self._connectors = connectors

    def auth_failed(self, connection: Connection) -> None:
        """Tell it, durably and once for the instant at which the connection became so."""
        text = f"CRM authentication failed — check credentials ({connection.name})"
        id_ = digest(AUTH_FAILED, connection.name, str(connection.changed_at))
        data: dict[str, Json] = {
            "connection": connection.name, "provider": connection.provider, "error": connection.error, "text": text,
        }  # fmt: skip
        for _ in range(_TRIES):
            if self._tell(id_, data, connection.changed_at):
                return
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def _tell(self, id_: str, data: dict[str, Json], at: int) -> bool:
        loop = self._loop
        with loop.exclusive():
            loop.recover()
            if self._store.known_ids([f"{OWN_IDS}{id_}"]):
                return True
            now = loop.last = max(at, loop.last)
            loop.effects.seq += 1
            event = Event(
                id=f"{OWN_IDS}{id_}", type=AUTH_FAILED, profile=0, at=now, received_at=now, source="connections", data=data,
                seq=loop.effects.seq,
            )  # fmt: skip
            unit = Unit()
            unit.events.append(event)
            unit.actions += [webhook_action(s, event, None) for s in loop.catalog.subscriptions if wants(s, event)]
            slack = self._connectors.get(SLACK)
            if slack is not None and (not isinstance(slack, SlackConnector) or slack.ready):
                unit.actions.append(self._message(event, data))
            written = False
            try:
                sent = self._store.commit(unit)
                loop.hold.release()
                written = sent
            finally:
                loop.stale = loop.stale or not written
            return written

    def _message(self, event: Event, data: dict[str, Json]) -> Action:
        text = f"{data['text']}: {data['error']}" if data["error"] else str(data["text"])
        return Action(
            key=f"escalation_{event.id.removeprefix(OWN_IDS)}", kind="escalation.send", connector=SLACK, payload={"text": text},
            due=event.at, created_at=event.at, cause=event.id,
        )  # fmt: skip
