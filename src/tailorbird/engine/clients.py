"""What content tools need of CRMs: a client's data, personalised content, activities written back, and the cache in between."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from tailorbird.connectors.rest import Locked, RateLimited, RemoteError, Transient
from tailorbird.content.rendered import Rendered
from tailorbird.core.connection import Connection, ConnectionStatus
from tailorbird.core.event import Json
from tailorbird.core.profile import Profile
from tailorbird.crm.cache import CacheStats, ClientCache, Loaded, context_cache, context_fields
from tailorbird.crm.model import NEUTRAL, Record
from tailorbird.crm.port import CrmConnector, Filters
from tailorbird.crm.retrying import attempt, plan_of
from tailorbird.engine.activities import Activities, ActivityToSync, Synced
from tailorbird.engine.content import Content
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile, read_ref
from tailorbird.errors import InvalidInput, NotFound, Unavailable

__all__ = ["Clients"]

Answer = TypeVar("Answer")

_log: Final = logging.getLogger(__name__)
_RECORD: Final = "record:"
_PASSING: Final = (Transient, RateLimited, Locked)
_PAGE: Final = 100


class Clients:
    """The small façade over every CRM. A ``client`` is any reference to a profile (``ann``, ``email:ann@example.com``, ``p_…``),
    somebody whom only the CRM knows by ``email:…`` or ``phone:…``, or the CRM's own id as ``record:…``.

    Without ``connection`` it is the only one there is. ``sleep`` and ``chance`` are for tests.
    """

    def __init__(
        self, parts: Parts, content: Content, activities: Activities, *, cache: ClientCache[dict[str, Json]] | None = None,
        sleep: Callable[[float], None] = time.sleep, chance: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._parts = parts
        self._content = content
        self._activities = activities
        self._cache = cache or ClientCache(parts.clock)
        self._sleep = sleep
        self._chance = chance

    # ---- reading

    def get_client_data(self, client: str, *, connection: str | None = None) -> dict[str, Json] | None:
        """Return what the CRM says of a client: the neutral names that are known, ``id``, ``connection``, and its own fields.

        None where the CRM knows nobody by that. The answer may be 300 s old. Raises the taxonomy's ``RemoteError`` once the retries
        are over, and ``Unavailable`` while the connection is paused or needs a person.
        """
        found = self._cache.read((connection, client), lambda: self._load(client, connection))
        return None if found is None else dict(found)

    def query_clients(
        self, filters: Filters, *, connection: str | None = None, limit: int = 1_000
    ) -> list[dict[str, Json]]:  # fmt: skip
        """Return the clients for whom all filters hold, as ``get_client_data`` does, by the plan for questions about many."""
        name = self._activities.connection(connection)
        found: list[dict[str, Json]] = []
        cursor: str | None = None
        while len(found) < limit:
            here, size = cursor, min(_PAGE, limit - len(found))
            page = self._ask(name, "bulk", lambda crm, here=here, size=size: crm.query(filters, cursor=here, limit=size))  # type: ignore[misc]
            found += [_fields(name, record) for record in page.records]
            cursor = page.cursor
            if not page.more or cursor is None:
                break
        return found[:limit]

    def personalize_content(
        self, client: str, *, template: str | None = None, text: str | None = None, connection: str | None = None,
        variables: Mapping[str, Json] | None = None, prefix: str = "customer_", type: str = "plain", language: str | None = None,
        style: str | None = None,
    ) -> Rendered:  # fmt: skip
        """Render a template, or text given directly, for a client: the CRM's fields are variables that begin with ``prefix``.

        What is known here of the person is there as in any template, and so is what ``context_cache`` handed to the running task.
        Raises what ``get_client_data`` and ``Content.render`` raise, and ``NotFound`` for whom neither the CRM nor we know.
        """
        if (template is None) == (text is None):
            raise InvalidInput("personalising takes a template or a text.", hint="Give one of the two.")
        data = self.get_client_data(client, connection=connection)
        person = self._person(client)
        if data is None and person is None:
            raise NotFound(
                f"nobody is known as {client:.80}.", hint="Give a profile, an e-mail as email:…, or the CRM's id as record:…."
            )
        known = {f"{prefix}{name}": value for name, value in (data or {}).items() if name.isidentifier()}
        given = {**context_fields(), **known, **(variables or {})}
        whose = None if person is None else person.id
        if template is not None:
            return self._content.render(template, whose, variables=given, language=language, style=style)
        return self._content.render_text(str(text), whose, type=type, variables=given, language=language, style=style)

    @contextmanager
    def context_cache(
        self, client: str, *, prefix: str = "customer_", connection: str | None = None
    ) -> Iterator[Mapping[str, Json]]:  # fmt: skip
        """Hand a client's fields to whatever runs inside, by prefixed names; ``crm.cache.context_fields`` finds them there."""
        with context_cache(self.get_client_data(client, connection=connection) or {}, prefix=prefix) as fields:
            yield fields

    # ---- writing back

    def sync_activity(self, client: str, kind: str, **options: Any) -> Synced:
        """Have an activity written into a client's timeline; options as ``Activities.sync_activity``."""
        if client.startswith(_RECORD):
            return self._activities.sync_activity(None, kind, record=client.removeprefix(_RECORD), **options)
        return self._activities.sync_activity(client, kind, **options)

    def batch_sync_activities(self, activities: Sequence[Mapping[str, Any] | ActivityToSync]) -> list[Synced]:
        """Have many written; return what became of each."""
        return self._activities.batch_sync_activities(activities)

    # ---- the cache

    def clear_cache(self, *, connection: str | None = None, client: str | None = None) -> int:
        """Forget what is kept: of a client, of a connection, or all; return how many answers that were."""
        if client is not None:
            person = None if client.startswith(_RECORD) else self._person(client)
            return self._cache.forget(("client", client), *(() if person is None else (person.key,)))
        return self._cache.clear() if connection is None else self._cache.forget(("connection", connection))

    def cache_stats(self) -> CacheStats:
        """Return how many reads were answered from the cache, and how many calls that saved."""
        return self._cache.stats()

    def changed(self, connection: str, record: str) -> int:
        """Forget a record because the CRM told that it changed, or we changed it; return how many answers that were."""
        return self._cache.forget((connection, record))

    # ---- inside

    def _load(self, client: str, connection: str | None) -> Loaded:
        name = self._activities.connection(connection)
        person = None if client.startswith(_RECORD) else self._person(client)
        record = self._find(name, client, person)
        tags = [("client", client), ("connection", name)]
        if person is not None:
            tags.append(person.key)  # type: ignore[arg-type]
        if record is None:
            _log.warning("%s knows no record for a client that was asked for", name)
            return Loaded(None, tuple(tags))
        return Loaded(_fields(name, record), (*tags, (name, record.id)))

    def _find(self, name: str, client: str, person: Profile | None) -> Record | None:
        if client.startswith(_RECORD):
            return self._get(name, client.removeprefix(_RECORD))
        if person is not None:
            for link in self._parts.store.crm.links_of([person.key], connection=name):
                if link.gone_at is None:
                    return self._get(name, link.record, link.object)
        email, phone = self._addresses(client, person)
        found: list[Record] = []
        if email:
            found = self._ask(name, "client", lambda crm: crm.find(email=email))
        if not found and phone:
            found = self._ask(name, "client", lambda crm: crm.find(phone=phone))
        return found[0] if found else None

    def _get(self, name: str, record: str, object: str = "") -> Record | None:
        return self._ask(name, "client", lambda crm: crm.get(record, object=object))

    def _addresses(self, client: str, person: Profile | None) -> tuple[str | None, str | None]:
        if person is None:
            kind, value = read_ref(client)
            return (value if kind == "email" else None), (value if kind == "phone" else None)
        held: dict[str, str] = {}
        for row in self._parts.store.identifiers(person.key):
            held.setdefault(row.kind, row.value)
        return held.get("email"), held.get("phone")

    def _person(self, client: str) -> Profile | None:
        if client.startswith(_RECORD):
            return None
        try:
            return find_profile(self._parts.store, client, region=self._parts.region)
        except NotFound:
            return None

    def _ask(self, name: str, what: str, ask: Callable[[CrmConnector], Answer]) -> Answer:
        connections = self._parts.connections
        connection = connections.get(name)
        _check(connection, self._parts.now())
        crm = connections.open(name)
        try:
            answer = attempt(
                lambda: ask(crm), plan_of(connection.settings, what), passes=lambda error: isinstance(error, _PASSING),
                sleep=self._sleep, chance=self._chance,
            )  # fmt: skip
        except RemoteError as error:
            connections.note(name, error)
            raise
        if connection.status == ConnectionStatus.UNREACHABLE:
            connections.mark(name, ConnectionStatus.CONNECTED)
        return answer


def _check(connection: Connection, now: int) -> None:
    """Raise where asking is vain: a person has paused the connection or has to mend it, or its quota is used up."""
    match connection.status:
        case ConnectionStatus.PAUSED:
            raise Unavailable(f"the connection {connection.name} is paused.", hint="Resume it first.")
        case ConnectionStatus.UNAUTHORISED:
            raise Unavailable(
                f"{connection.name} does not accept our credentials: {connection.error or 'it gave no reason'}",
                hint=f"Run `tailorbird connect {connection.provider}` again.",
            )
        case ConnectionStatus.LIMITED if connection.resumes_at is not None and connection.resumes_at > now:
            raise Unavailable(f"the quota of {connection.name} is used up.", hint="It goes on by itself after the reset.")


def _fields(name: str, record: Record) -> dict[str, Json]:
    """Return a record as one mapping: the CRM's own fields, and over them the neutral ones that are known."""
    neutral = {field: record.value(field) for field in sorted(NEUTRAL)}
    known = {field: value for field, value in neutral.items() if value not in (None, [], "")}
    return {**record.attributes, **record.fields, **known, "id": record.id, "connection": name, "consents": dict(record.consents)}
