"""The façade: one open Tailorbird, and its verbs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import msgspec

from tailorbird.connectors import Connector, open_connectors
from tailorbird.connectors.crm import CRM, CrmActivities
from tailorbird.core.action import Action
from tailorbird.core.context import DAY, Clock, SystemClock
from tailorbird.core.deadline import Deadline
from tailorbird.core.definition import Definition
from tailorbird.core.event import PROFILE_UPDATED, Event, Json
from tailorbird.definitions import lifecycle
from tailorbird.definitions.files import What
from tailorbird.definitions.lifecycle import Applied
from tailorbird.engine import asking, authoring, importing, people, resuming, simulate, staging
from tailorbird.engine.activities import Activities, ConnectionState
from tailorbird.engine.clients import Clients
from tailorbird.engine.connections import Connections, Given
from tailorbird.engine.contacts import Contacts
from tailorbird.engine.content import Content
from tailorbird.engine.credits import Credits
from tailorbird.engine.crm import Crm
from tailorbird.engine.crm_fetching import Fetching
from tailorbird.engine.enriching import Enriching, open_providers
from tailorbird.engine.escalating import Escalations
from tailorbird.engine.parts import Parts
from tailorbird.engine.reader import Reader
from tailorbird.engine.refs import find_profile, read_duration, read_instant
from tailorbird.engine.service import Personalizer
from tailorbird.engine.syncing import FETCHER, Syncing
from tailorbird.engine.views import (
    Answer,
    FeatureView,
    MemberPage,
    OutboxPage,
    ProfileView,
    SegmentView,
    Timeline,
)
from tailorbird.ports import CrmAdapter, LanguageModel, Merge, Store
from tailorbird.profiles import erase
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.gate import Gate, parse_guard
from tailorbird.runtime.ingest import Incoming, Receipt
from tailorbird.runtime.intake import Intake
from tailorbird.runtime.loop import Loop
from tailorbird.runtime.outbox import Deliverer
from tailorbird.runtime.work import Work
from tailorbird.segments.drift import Drift
from tailorbird.segments.history import Point, history
from tailorbird.segments.overlap import Overlap, overlap
from tailorbird.segments.preview import Preview
from tailorbird.settings import Settings
from tailorbird.storage import open_store
from tailorbird.storage.secrets import open_vault

if TYPE_CHECKING:
    from tailorbird.engine.directory import Directory
    from tailorbird.engine.narrating import Narrating
    from tailorbird.expr.why import Reason
    from tailorbird.runtime.imports import Report

__all__ = ["Engine"]


class Engine:
    """One open Tailorbird: a store, the loop over it, and the verbs.

    Every ``profile`` and ``ref`` argument takes a public id (``p_…``), or an external id, or ``kind:value``
    (``email:ann@example.com``). Instants are given as ms, ``datetime`` or ISO text. All verbs may be called from any thread,
    but not from the thread of a running event loop that serves the same engine: what waits there would wait for ever.
    """

    def __init__(
        self, store: Store, *, clock: Clock | None = None, settings: Settings | None = None,
        connectors: Mapping[str, Connector] | None = None, adapters: Iterable[CrmAdapter] = (),
        crm: Mapping[str, Given] | None = None,
    ) -> None:  # fmt: skip
        self.store = store
        self.clock: Clock = clock or SystemClock()
        self.settings = settings or Settings()
        self.loop = Loop(store, region=self.settings.default_region, cached=self.settings.cached_profiles)
        credits = Credits(store, self.clock)
        if connectors is None:
            ours = open_connectors(loopback=self.settings.local, allow_private=self.settings.webhook_private)
            connectors = {**ours, **open_providers(self.settings, credits, self.clock)}
        self.connectors = dict(connectors)
        self.deliverer = Deliverer(store, self.connectors, self._gate, self.clock, self._emit, commit=self.loop.write)
        self.loop.effects.gate = lambda action, profile, now: self._gate().admit(action, profile, now).applied_to(action)
        self._guarded: tuple[object, Gate] | None = None
        self._importing = Lock()
        vault = open_vault(store.crm, self.clock, url=self.settings.secrets_url)
        self.connections = Connections(store, vault, self.clock, given=crm)
        self.connections.when_unauthorised = Escalations(store, self.loop, self.connectors).auth_failed
        self.connections.when_connected = lambda name: store.hurry_actions(CRM, "connection", name, self.clock.now())
        self.connectors.setdefault(CRM, CrmActivities(self.connections, store, self.clock))
        self.parts = Parts(
            store, self.loop, self.deliverer, self.connectors, self.clock, self.settings, Work(store), self.connections
        )
        self._reader = Reader(self.parts)
        self.enrichment = Enriching(self.parts, credits)
        self.content = Content(self.parts)
        self.activities = Activities(self.parts)
        self.clients = Clients(self.parts, self.content, self.activities)
        self.contacts = Contacts(self.parts)
        self.sync = Syncing(self.parts, self.clients.changed)
        self.crm = Crm(self.parts, self.sync)
        self.connectors.setdefault(FETCHER, Fetching(self.sync, self.connections))
        self.service = Personalizer(self.parts, adapters, model=self._model)
        resuming.resume(self.parts)
        staging.resume(self.parts)

    # ---- life

    @classmethod
    def open(
        cls, url: str | None = None, *, clock: Clock | None = None, settings: Settings | None = None,
        connectors: Mapping[str, Connector] | None = None, adapters: Iterable[CrmAdapter] = (),
        crm: Mapping[str, Given] | None = None,
    ) -> Self:  # fmt: skip
        """Open the database at a URL or path (by default the one in the settings, ``tailorbird.db`` here).

        ``crm`` brings connectors along as connections, by name, that need no credentials: for tests, and for CRMs of one's own;
        and providers, to which connections can then be made.
        """
        chosen = settings or Settings()
        store = open_store(url or chosen.database_url)
        try:
            return cls(store, clock=clock, settings=chosen, connectors=connectors, adapters=adapters, crm=crm)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Finish deliveries under way and close the database."""
        if "directory" in self.__dict__:
            self.directory.close()
        self.deliverer.close()
        if "narrating" in self.__dict__:
            self.narrating.close()
        for connector in self.connectors.values():
            connector.close()
        self.connections.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def now(self) -> int:
        """Return the instant, in ms since 1970."""
        return self.parts.now()

    def advance_to(self, instant: Any) -> None:
        """Move a ManualClock forward, firing every timer and delivery on the way at its own instant."""
        simulate.advance_to(self.parts, read_instant(instant, "instant"))

    def run_due(self) -> int:
        """Fire the timers that are due now and deliver due actions once; what ``serve`` does in the background."""
        return simulate.run_due(self.parts)

    def resume(self) -> bool:
        """Finish what another process left half done when it died; return whether there was something. ``serve`` asks often."""
        return resuming.resume(self.parts, thorough=False)

    # ---- intake

    def track(
        self, type: str, *, profile: str | None = None, at: Any = None, id: str | None = None, source: str = "python",
        identifiers: Mapping[str, str] | None = None, **data: Json,
    ) -> Receipt:  # fmt: skip
        """Take one event in, durably; return its receipt. Raises ``InvalidEvent`` when it is rejected."""
        event = people.incoming(
            self.parts, type, msgspec.to_builtins(data), profile=profile, identifiers=identifiers, at=at, id=id, source=source
        )
        return people.take_one(self.parts, event)

    def identify(
        self, profile: str | None = None, *, attributes: Mapping[str, Json] | None = None,
        identifiers: Mapping[str, str] | None = None, at: Any = None, id: str | None = None, source: str = "python",
    ) -> Receipt:  # fmt: skip
        """Say who somebody is and what is known of them; joins what they did before under these identifiers."""
        data = {"attributes": msgspec.to_builtins(dict(attributes or {}))}
        event = people.incoming(
            self.parts, PROFILE_UPDATED, data, profile=profile, identifiers=identifiers, at=at, id=id, source=source
        )
        return people.take_one(self.parts, event)

    def take(self, batch: Sequence[Incoming | Draft]) -> list[Receipt]:
        """Take a batch in one commit; return a receipt for each, in order (rejected ones say why)."""
        return self.loop.take(batch, self.now())

    def intake(self) -> Intake:
        """Return a new intake for a server's event loop, to be started there."""
        return Intake(self.loop, self.clock, queue_limit=self.settings.queue_limit, unit_limit=self.settings.unit_limit)

    # ---- definitions

    def apply(self, what: What, *, activate: bool = True) -> Applied:
        """Check everything in a folder, file or documents, all mistakes at once; then store and (by default) activate what changed."""
        return authoring.apply(self.parts, what, activate=activate)

    def check(self, what: What) -> Applied:
        """Return what applying would do; raises what ``apply`` raises, and writes nothing."""
        return authoring.check(self.parts, what)

    def preview(self, what: What, *, sample: int = 10, limit: int | None = None) -> list[Preview]:
        """Return for every segment that would be new or changed its size, a sample, and who would enter and leave.

        Raises ``OverTime`` after ``limit`` ms (None: there is no limit).
        """
        return authoring.previews(self.parts, what, sample=sample, deadline=None if limit is None else Deadline(limit))

    def activate(self, kind: str, name: str, version: int | None = None) -> Applied:
        """Activate a stored version, the newest when left out."""
        return authoring.carry_out(self.parts, lambda: lifecycle.plan_activate(self.store, kind, name, version))

    def roll_back(self, kind: str, name: str) -> Applied:
        """Go back to the version that was active before."""
        return authoring.carry_out(self.parts, lambda: lifecycle.plan_roll_back(self.store, kind, name))

    def archive(self, kind: str, name: str) -> Applied:
        """End a definition; raises ``Conflict`` naming what needs it."""
        return authoring.carry_out(self.parts, lambda: lifecycle.plan_archive(self.store, kind, name))

    def definitions(self, *, kind: str | None = None, status: str | None = None) -> list[Definition]:
        """Return all versions of all definitions."""
        return asking.definitions(self.parts, kind, status)

    # ---- reading

    def profile(self, ref: str) -> ProfileView:
        """Return a profile: identifiers, attributes and where they came from, tags, consents, segments."""
        return asking.profile_view(self.parts, ref)

    def timeline(self, ref: str, *, before: str | None = None, limit: int = 50) -> Timeline:
        """Return a profile's events, newest first."""
        return asking.timeline(self.parts, ref, before=before, limit=limit)

    def features(self, ref: str, names: Sequence[str] | None = None, *, as_of: Any = None) -> dict[str, Any]:
        """Return features (or those of feature views) of a profile as JSON values, now or as of any instant."""
        if as_of is not None:
            return asking.features(self.parts, ref, names, as_of=as_of)
        asking.see_others(self.parts)
        return self._reader.read(ref, None if names is None else tuple(names))

    def read_features(self, ref: str, names: tuple[str, ...] | None, *, warm: bool = False) -> dict[str, Any] | None:
        """The short path of ``features``; with ``warm`` None is returned, and nothing read, for a profile not in memory."""
        return self._reader.warm(ref, names) if warm else self._reader.read(ref, names)

    def encoded_features(self, ref: str, names: tuple[str, ...] | None, now: int) -> bytes | None:
        """Return features as of now as a JSON object, None (and nothing is read) for a profile not in memory."""
        return self._reader.encoded(ref, names, now)

    def feature_list(self) -> list[FeatureView]:
        """Return every live feature."""
        return asking.feature_list(self.parts)

    def evaluate(
        self, expression: str, *, profile: str | None = None, as_of: Any = None, limit: int | None = None
    ) -> Answer:  # fmt: skip
        """Return the expression's value for one profile, or for how many profiles it is true.

        Raises ``OverTime`` after ``limit`` ms (None: there is no limit).
        """
        deadline = None if limit is None else Deadline(limit)
        return asking.answer(self.parts, expression, profile=profile, as_of=as_of, deadline=deadline)

    def why(self, ref: str, segment: str, *, as_of: Any = None, limit: int | None = None) -> Reason:
        """Return why a profile is or is not in a segment: which clause, which events, until when; ``limit`` as ``evaluate``."""
        return asking.why(self.parts, ref, segment, as_of=as_of, deadline=None if limit is None else Deadline(limit))

    def segments(self) -> list[SegmentView]:
        """Return every live segment with its size."""
        return asking.segment_list(self.parts)

    def members(self, segment: str, *, after: str | None = None, limit: int = 50) -> MemberPage:
        """Return some members of a segment."""
        return asking.members(self.parts, segment, after=after, limit=limit)

    def history(self, segment: str, *, since: Any = None, until: Any = None, step: Any = "1d") -> list[Point]:
        """Return a segment's size, inflow and outflow over time, by default of the last 30 days."""
        asking.condition_of(self.parts, segment)
        now = self.now()
        end = now + 1 if until is None else read_instant(until, "until")
        start = end - 30 * DAY if since is None else read_instant(since, "since")
        return history(self.store, segment, since=start, until=end, step=read_duration(step, "step"), now=now)

    def overlap(self, names: Sequence[str] | None = None) -> Overlap:
        """Return how much segments have in common, all of them when left out."""
        chosen = sorted(self.loop.catalog.conditions) if names is None else list(names)
        for name in chosen:
            asking.condition_of(self.parts, name)
        return overlap(self.store, chosen)

    def drift(self, segment: str, *, baseline: Any = None) -> Drift:
        """Compare a segment's members with those at a baseline instant, 30 days ago when left out."""
        return asking.segment_drift(self.parts, segment, baseline=baseline)

    @cached_property
    def narrating(self) -> Narrating:
        """Narratives, tone, who gets which language, translation."""
        from tailorbird.engine.narrating import Narrating  # word lists and patterns, which most commands do not need

        return Narrating(self.parts)

    def _model(self) -> LanguageModel | None:
        return self.narrating.model if self.settings.llm_url else None

    # ---- changing people

    def tag(self, ref: str, *tags: str, source: str = "python") -> None:
        """Give a profile tags."""
        people.tag(self.parts, ref, tags, on=True, source=source)

    def untag(self, ref: str, *tags: str, source: str = "python") -> None:
        """Take tags from a profile."""
        people.tag(self.parts, ref, tags, on=False, source=source)

    def consent(
        self, ref: str, channel: str, purpose: str, granted: bool, *, explicit: bool = False, proof: Json = None,
        source: str = "python",
    ) -> Receipt:  # fmt: skip
        """Note that a person consents or withdraws; ``explicit`` is their own word, which alone undoes a withdrawal."""
        return people.consent(self.parts, ref, channel, purpose, granted, explicit=explicit, proof=proof, source=source)

    def add_members(self, segment: str, refs: Iterable[str], *, source: str = "python") -> int:
        """Put people on a list kept by hand; return how many were not on it."""
        return people.list_members(self.parts, segment, refs, on=True, source=source)

    def remove_members(self, segment: str, refs: Iterable[str], *, source: str = "python") -> int:
        """Take people off a list kept by hand; return how many were on it."""
        return people.list_members(self.parts, segment, refs, on=False, source=source)

    def merge(self, winner: str, loser: str, *, reason: str = "") -> Merge:
        """Make one profile part of another; recorded, and undone by ``unmerge``."""
        return people.merge(self.parts, winner, loser, reason=reason)

    def unmerge(self, merge_id: str) -> Merge:
        """Take a merge back: exactly what came from the other profile returns to it."""
        return people.unmerge(self.parts, merge_id)

    def merges(self, ref: str) -> list[Merge]:
        """Return the merges that a profile took part in."""
        return self.store.merges(find_profile(self.store, ref, region=self.parts.region).key)

    def forget(self, ref: str) -> erase.Erasure:
        """Erase a person everywhere; what is erased is gone for good."""
        return people.erase(self.parts, ref)

    def export(self, ref: str) -> dict[str, Json]:
        """Return everything known of a person as one JSON document."""
        return erase.export(self.store, find_profile(self.store, ref, region=self.parts.region).key, at=self.now())

    # ---- actions

    def enqueue(
        self, kind: str, connector: str, payload: Mapping[str, Json], *, key: str, profile: str | None = None,
        channel: str | None = None, purpose: str | None = None, due: Any = None,
    ) -> Action:  # fmt: skip
        """Put an action into the outbox, past the gate; one per key is ever admitted, and that one is returned."""
        now = self.now()
        person = None if profile is None else find_profile(self.store, profile, region=self.parts.region)
        action = Action(
            key=key, kind=kind, connector=connector, payload=dict(payload), profile=person.key if person else 0, channel=channel,
            purpose=purpose, due=now if due is None else read_instant(due, "due"), created_at=now,
        )  # fmt: skip
        self.loop.admit_action(action, person, now)
        found = self.store.action(key)
        return found if found is not None else action

    def outbox(self, *, status: str | None = None, after: int = 0, limit: int = 50) -> OutboxPage:
        """Return some actions in the order of their admission."""
        found = self.store.actions(status=status, after=after, limit=limit + 1)
        return OutboxPage(tuple(found[:limit]), found[limit - 1].seq if len(found) > limit else None)

    def requeue(self, key: str) -> Action:
        """Give a dead or refused action another chance."""
        return self.deliverer.requeue(key, self.now())

    def crm_status(self) -> list[ConnectionState]:
        """Return how each connection to a CRM does, and how many activities wait for it."""
        return self.activities.status()

    # ---- bulk

    def import_events(self, path: str | Path, mapping: Mapping[str, str] | None = None, **options: Any) -> Report:
        """Import a file of events set-based and bring memberships up to date; options as ``runtime.imports.import_events``."""
        from tailorbird.runtime.imports import import_events  # it loads DuckDB, which nothing else here may need

        return self._import(import_events, path, mapping, options)

    def import_contacts(self, path: str | Path, mapping: Mapping[str, str] | None = None, **options: Any) -> Report:
        """Import a file of contacts set-based and bring memberships up to date."""
        from tailorbird.runtime.imports import import_contacts

        return self._import(import_contacts, path, mapping, {**options, "lifecycle": self.loop.catalog.lifecycle})

    def replay(self, url: str) -> Engine:
        """Replay the log of external events and definitions into an empty store and return it open."""
        from tailorbird.engine.replaying import replay_into

        return replay_into(self, url)

    def log(self, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return the log in the order of arrival."""
        return self.store.events(after=after, limit=limit)

    # ---- domains

    @cached_property
    def directory(self) -> Directory:
        """Finding people, changing many at once, campaigns, moving in and out, duplicates."""
        from tailorbird.engine.directory import Directory

        return Directory(self)

    # ---- inside

    def _import(self, load: Any, path: str | Path, mapping: Mapping[str, str] | None, options: Mapping[str, Any]) -> Report:
        return importing.load(self.parts, load, path, mapping, options, self._importing)

    def _gate(self) -> Gate:
        catalog = self.loop.catalog
        if self._guarded is None or self._guarded[0] is not catalog:
            guards = [parse_guard(item.name, item.spec) for item in catalog.gates]
            self._guarded = catalog, Gate(guards, self.store.sent_since)
        return self._guarded[1]

    def _emit(self, drafts: list[Draft]) -> list[Receipt]:
        return self.loop.take(drafts, self.now())


def plain(value: Any) -> Any:
    """Return what a verb answered as dictionaries and lists, ready for JSON."""
    return msgspec.to_builtins(asdict(value) if is_dataclass(value) and not isinstance(value, type) else value)
