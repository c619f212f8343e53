"""Staying in step with CRMs: pulling, pushing, webhooks in, segments out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import msgspec

from tailorbird.connectors.rest.errors import Refused, RemoteError, Unsupported
from tailorbird.core.action import Action
from tailorbird.core.connection import ConnectionStatus, Link
from tailorbird.core.context import DAY, HOUR
from tailorbird.core.event import Event
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile
from tailorbird.crm.mapping import CrmMapping
from tailorbird.crm.model import Page, Record, Subscribed, WebhookCall, Written
from tailorbird.crm.port import CrmConnector
from tailorbird.engine.asking import condition_of
from tailorbird.engine.crm_pushing import Pushed, plan, write_planned
from tailorbird.engine.crm_taking import CONFLICT_RESOLVED, Taken, mapping_of, roots, take_gone, take_records
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile
from tailorbird.errors import InvalidInput, TailorbirdError
from tailorbird.expr.check import resolve
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_of

__all__ = ["FETCH", "FETCHER", "Segmented", "Syncing"]

FETCH: Final = "crm.fetch"
"""The kind of action that reads a record of which a webhook told."""
FETCHER: Final = "crm-records"
"""The connector that such actions go through."""

_PEOPLE: Final = "people"
_SUBSCRIPTIONS: Final = "subscriptions"
_ADDRESS: Final = "webhook_url"
_PULLED: Final = "pulled_at"
_LONGEST: Final = HOUR  # after which a pull that another process began is taken for dead
_SEGMENT: Final = "segment:"
_PAGE: Final = 1_000

Progress = Callable[[int, int], None]
_Person = tuple[Profile, list[Link]]


class Segmented(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a segment at a CRM: how many records were added and removed, and how many the CRM refused."""

    segment: str
    connection: str
    added: int
    removed: int
    failed: int


class Syncing:
    """The verbs that keep profiles and the records of CRMs in step, over an open engine.

    ``changed`` is told of each record (by connection and id) that changed at its CRM, for whoever keeps copies.
    """

    def __init__(self, parts: Parts, changed: Callable[[str, str], object] = lambda connection, record: None) -> None:
        self._parts = parts
        self._changed = changed

    def mapping(self, connection: str) -> CrmMapping:
        """Return how the fields of a connection and attributes correspond."""
        return mapping_of(self._parts, connection)

    # ---- in

    def pull(
        self, connection: str, *, full: bool = False, progress: Progress | None = None, stop: Callable[[], bool] | None = None
    ) -> Taken:
        """Read what changed at the CRM since the last time, or (the first time, or with ``full``) everything, and take it in.

        The place is kept after each page, so that a pull that was cut short goes on there. The next page is asked for while one is
        taken in, and after each ``stop`` may end it. Raises ``RemoteError`` when the CRM does not answer; what was taken stays.
        """
        found = self._parts.connections.get(connection)
        connector = self._parts.connections.open(connection)
        cursor = None if full else found.cursors.get(_PEOPLE)
        mapping = self.mapping(connection)
        taken = Taken()
        with self._noting(connection), ThreadPoolExecutor(1, thread_name_prefix="crm-pull") as reader:
            ahead: Future[Page] = reader.submit(connector.changes, cursor, limit=_PAGE)
            while True:
                page = ahead.result()
                if page.more and page.cursor is not None:
                    ahead = reader.submit(connector.changes, page.cursor, limit=_PAGE)
                now = self._parts.now()
                taken.add(take_records(self._parts, connection, page.records, mapping=mapping, now=now))
                if page.cursor is not None:
                    self._parts.store.crm.put_cursor(connection, _PEOPLE, page.cursor, now=now)
                if progress is not None:
                    progress(taken.read, page.total or taken.read)
                for record in page.records if cursor is not None else ():
                    self._changed(connection, record.id)
                if not page.more or page.cursor is None or (stop is not None and stop()):
                    return taken

    def fetch(self, connection: str, records: Sequence[str], *, object: str = "") -> Taken:
        """Read these records and take them in; one that is not there any more counts as deleted."""
        connector = self._parts.connections.open(connection)
        taken = Taken()
        with self._noting(connection):
            read = {id_: connector.get(id_, object=object) for id_ in dict.fromkeys(records)}
        now = self._parts.now()
        there = [record for record in read.values() if record is not None]
        taken.add(take_records(self._parts, connection, there, mapping=self.mapping(connection), now=now))
        taken.add(take_gone(self._parts, connection, [id_ for id_, record in read.items() if record is None], now=now))
        return taken

    def take(self, connection: str, records: Sequence[Record]) -> Taken:
        """Take in records that were read already."""
        return take_records(self._parts, connection, records, mapping=self.mapping(connection), now=self._parts.now())

    # ---- out

    def push(
        self, connection: str, refs: Iterable[str] | None = None, *, dry_run: bool = False, create: bool = False,
        fresh: bool = True, progress: Progress | None = None,
    ) -> Pushed:  # fmt: skip
        """Write what changed with us since both sides agreed, of these people or of everybody who has a record there.

        With ``create`` people without a record are found there by address or number, or made. With ``dry_run`` nothing is read or
        written: the answer is what would be. Otherwise changes of the CRM are read first (unless not ``fresh``), so that they
        are not written over. Raises ``RemoteError`` when the CRM does not answer; what was written until then is noted.
        """
        self._parts.connections.get(connection)
        connector = self._parts.connections.open(connection)
        if not connector.capabilities.write:
            raise Unsupported(f"{connection} can only be read.")
        if fresh and not dry_run and connector.capabilities.changes:
            self.pull(connection)
        mapping = self.mapping(connection)
        pushed = Pushed(dry_run=dry_run)
        for people in self._people(connection, refs, create=create):
            jobs = plan(self._parts, connector, mapping, people, connection=connection, create=create)
            if dry_run:
                pushed.rows += [job.planned for job in jobs]
                continue
            with self._noting(connection):
                pushed.add(write_planned(self._parts, connector, jobs, now=self._parts.now()))
            if progress is not None:
                progress(*[pushed.written + len(pushed.failed)] * 2)
        return pushed

    def conflicts(self, connection: str | None = None, *, limit: int = 50) -> list[Event]:
        """Return the latest conflicts, of a connection or of all, newest first: what each side said, and who won."""
        condition = (
            f"did({CONFLICT_RESOLVED})" if connection is None else f'did({CONFLICT_RESOLVED} where connection = "{connection}")'
        )
        store = self._parts.store
        keys = store.batch().members(resolve(parse(condition), self._parts.catalog.schema, expect=Type.BOOL), self._parts.now())
        found: list[Event] = []
        for start in range(0, len(keys), _PAGE):
            for events in store.history(keys[start : start + _PAGE], [CONFLICT_RESOLVED]).values():
                found += [e for e in events if connection is None or e.data.get("connection") == connection]
        return sorted(found, key=lambda event: (event.at, event.seq), reverse=True)[:limit]

    def sync_segment(self, segment: str, connection: str) -> Segmented:
        """Make the records of a segment's members, and no others, members of its list, campaign or tag; only differences are sent."""
        condition_of(self._parts, segment)
        connector = self._parts.connections.open(connection)
        if connector.capabilities.segments is None:
            raise Unsupported(f"{connection} keeps no lists of people.")
        mark = _SEGMENT + segment
        adding: list[Link] = []
        removing: list[Link] = []
        for links in self._links(connection):
            owners = roots(self._parts.store, {link.profile for link in links})
            members = self._parts.store.memberships(sorted({owner.key for owner in owners.values()}))
            inside = {key for key, found in members.items() if any(item.segment == segment for item in found)}
            for link in links:
                if link.gone_at is not None:
                    continue
                owner = owners.get(link.profile)
                wanted, there = owner is not None and owner.key in inside, mark in link.pushed
                if wanted and not there:
                    adding.append(link)
                elif there and not wanted:
                    removing.append(link)
        size = max(1, connector.capabilities.limits.batch_write)
        failed = 0
        with self._noting(connection):
            for chosen, on in ((adding, True), (removing, False)):
                for start in range(0, len(chosen), size):
                    failed += self._set_members(connector, segment, chosen[start : start + size], on=on)
        return Segmented(segment=segment, connection=connection, added=len(adding), removed=len(removing), failed=failed)

    def _set_members(self, connector: CrmConnector, segment: str, links: Sequence[Link], *, on: bool) -> int:
        records = [link.record for link in links]
        results: list[Written] = (
            connector.set_members(segment, adding=records) if on else connector.set_members(segment, removing=records)
        )
        mark, now = _SEGMENT + segment, self._parts.now()
        done = [link for link, result in zip(links, results, strict=True) if not result.error]
        changed = [
            msgspec.structs.replace(
                link, pushed={**{n: v for n, v in link.pushed.items() if n != mark}, **({mark: True} if on else {})}, pushed_at=now
            )
            for link in done
        ]  # fmt: skip
        if changed:
            self._parts.store.crm.put_links(changed)
        return len(links) - len(done)

    # ---- webhooks

    def receive_webhook(self, connection: str, call: WebhookCall) -> int:
        """Check a webhook and put what it tells of into the outbox, to be read from there; return how much of it is news.

        Raises ``Refused`` for one that is not the CRM's own or is stale. What was told before is not read again.
        """
        connector = self._parts.connections.open(connection)
        if not connector.capabilities.webhooks:
            raise Refused(f"{connection} sends no webhooks.")
        now = self._parts.now()
        connector.verify_webhook(call, now)
        news = 0
        for notice in connector.parse_webhook(call):
            key = f"{FETCH}:{connection}:{digest(notice.id, notice.record)}"
            if self._parts.store.action(key) is not None:
                continue
            news += 1
            self._changed(connection, notice.record)
            payload = {"connection": connection, "record": notice.record, "object": notice.object, "what": notice.what}
            action = Action(key=key, kind=FETCH, connector=FETCHER, payload=payload, due=now, created_at=now)
            self._parts.loop.admit_action(action, None, now)
        return news

    def subscribe(self, connection: str, url: str) -> list[Subscribed]:
        """Have the CRM call this address when people change there."""
        if not url.startswith("https://") and not url.startswith(("http://127.0.0.1", "http://localhost")):
            raise InvalidInput("a CRM is given an address that begins with https:// only.", hint="Webhooks carry people's data.")
        with self._noting(connection):
            found = self._parts.connections.open(connection).subscribe(url)
        self._keep(connection, found)
        self._parts.store.crm.put_cursor(connection, _ADDRESS, url, now=self._parts.now())
        return found

    def webhook_url(self, connection: str) -> str | None:
        """Return the address that the CRM was told to call, over which some of them sign; None where it was told by hand."""
        return self._parts.connections.get(connection).cursors.get(_ADDRESS)

    def subscriptions(self, connection: str) -> list[Subscribed]:
        """Return what is subscribed to."""
        kept = self._parts.connections.get(connection).cursors.get(_SUBSCRIPTIONS)
        return msgspec.json.decode(kept, type=list[Subscribed]) if kept else []

    def unsubscribe(self, connection: str) -> None:
        """End the subscriptions."""
        with self._noting(connection):
            self._parts.connections.open(connection).unsubscribe(self.subscriptions(connection))
        self._keep(connection, [])

    def run_due(self, *, stop: Callable[[], bool] | None = None) -> int:
        """Pull from each connection whose setting ``pull_every`` (``15m``) says that it is time, and push where ``push`` says so.

        Subscriptions that end soon are renewed. Returns how many connections were brought into step; one that fails is noted in its
        status and holds up no other. Of several processes one does it.
        """
        store, done = self._parts.store, 0
        for item in self._parts.connections.list():
            every = duration_of(str(item.settings.get("pull_every") or ""))
            now = self._parts.now()
            if not every or item.status in (ConnectionStatus.PAUSED, ConnectionStatus.UNAUTHORISED):
                continue
            if now < int(item.cursors.get(_PULLED, "0")) + every:
                continue
            name, token = f"crm-pull:{item.name}", digest("crm pull", item.name, str(now), str(id(self)))
            if store.take_lease(name, token, f"pulling {item.name}", lasting=_LONGEST).token != token:
                continue
            try:
                store.crm.put_cursor(item.name, _PULLED, str(now), now=now)
                self.pull(item.name, stop=stop)
                if item.settings.get("push") is True:
                    self.push(item.name, fresh=False)
                done += 1
            except TailorbirdError:
                continue  # its status says why, where it is the CRM
            finally:
                store.drop_lease(name, token)
        self.renew_subscriptions()
        return done

    def renew_subscriptions(self, *, within: int = DAY) -> int:
        """Renew the subscriptions of all connections that end within so many ms; return how many were. A CRM that fails is noted."""
        renewed = 0
        for item in self._parts.connections.list():
            held = self.subscriptions(item.name)
            ending = [s for s in held if s.expires_at is not None and s.expires_at <= self._parts.now() + within]
            if not ending or item.status in (ConnectionStatus.PAUSED, ConnectionStatus.UNAUTHORISED):
                continue
            try:
                with self._noting(item.name):
                    fresh = self._parts.connections.open(item.name).renew(ending)
            except TailorbirdError:
                continue  # its status says why; there is time until they end
            renewed += len(fresh)
            self._keep(item.name, [*(s for s in held if s not in ending), *fresh])
        return renewed

    def _keep(self, connection: str, found: Sequence[Subscribed]) -> None:
        text = msgspec.json.encode(list(found)).decode() if found else None
        self._parts.store.crm.put_cursor(connection, _SUBSCRIPTIONS, text, now=self._parts.now())

    # ---- inside

    @contextmanager
    def _noting(self, connection: str) -> Iterator[None]:
        """Keep in the connection's status how the CRM answers."""
        connections = self._parts.connections
        try:
            yield
        except RemoteError as error:
            connections.note(connection, error)
            raise
        if connections.get(connection).status in (ConnectionStatus.UNREACHABLE, ConnectionStatus.LIMITED):
            connections.mark(connection, ConnectionStatus.CONNECTED)

    def _people(self, connection: str, refs: Iterable[str] | None, *, create: bool) -> Iterator[list[_Person]]:
        """Yield people with their records at the connection, deleted ones among them, some at a time."""
        store = self._parts.store
        if refs is not None:
            people = {p.key: p for p in (find_profile(store, ref, region=self._parts.region) for ref in refs)}
            chosen = list(people.values())
            for start in range(0, len(chosen), _PAGE):
                yield [(profile, self._records(connection, profile)) for profile in chosen[start : start + _PAGE]]
            return
        seen: set[int] = set()
        for links in self._links(connection):
            owners = roots(store, {link.profile for link in links})
            found: dict[int, _Person] = {}
            for link in links:
                if (owner := owners.get(link.profile)) is not None:
                    found.setdefault(owner.key, (owner, []))[1].append(link)
            yield list(found.values())
            seen |= found.keys()
        after = 0
        while create and (page := store.page_profiles(after=after, limit=_PAGE, kind="person")):
            after = page[-1].key
            yield [(profile, []) for profile in page if profile.merged_into is None and profile.key not in seen]

    def _records(self, connection: str, profile: Profile) -> list[Link]:
        """Return the links of a person, also those of people who became part of them."""
        store = self._parts.store
        kind = f"crm:{connection}"
        names = [row.value for row in store.identifiers(profile.key) if row.kind == kind]
        linked = {link.record: link for link in store.crm.links_of([profile.key], connection=connection)}
        return list({**linked, **store.crm.links(connection, names)}.values())

    def _links(self, connection: str) -> Iterator[list[Link]]:
        """Yield the links of a connection, a page at a time."""
        after = ""
        while page := self._parts.store.crm.page_links(connection, after=after, limit=_PAGE):
            after = page[-1].record
            yield page
