"""The ports: what the domains ask of storage. Implemented once per database, under one contract suite.

Everything here is synchronous; faces that are asynchronous call it from a thread or use the short path. A ``Store`` may be
used from several threads; ``commit`` is called by one thread at a time. All reads see only what is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from tailorbird.core.action import Action, Outcome
from tailorbird.core.connection import Connection, Link
from tailorbird.core.crm import Contact, CrmContext
from tailorbird.core.deadline import Deadline
from tailorbird.core.definition import Definition
from tailorbird.core.event import Event, Json
from tailorbird.core.profile import Identifier, Profile
from tailorbird.expr.nodes import Node

__all__ = [
    "Batch", "Clause", "Connector", "Criteria", "CrmAdapter", "CrmStore", "Hits", "IdentifierRow", "LanguageModel", "Lease", "Likeness",
    "ManyConnector", "Membership", "Merge", "NoAnswer", "Numbers", "People", "RecordRow", "Store", "Timer", "Unit",
]  # fmt: skip

Shape = TypeVar("Shape", bound=msgspec.Struct)


class IdentifierRow(NamedTuple):
    """An identifier and whose it is: ``profile`` now, ``origin`` when first seen (what an unmerge returns to)."""

    kind: str
    value: str
    profile: int
    origin: int
    at: int


class Membership(NamedTuple):
    """A profile is in a segment since ``entered_at``, by this version of it."""

    segment: str
    profile: int
    entered_at: int
    version: int


class Timer(NamedTuple):
    """Wake a profile at ``due``; one per (profile, key); the core's key is ``segments``."""

    profile: int
    key: str
    due: int


class RecordRow(NamedTuple):
    """A note, a task or a deal of a profile (``kind``, ``id``), as its events left it; a read model.

    ``status`` is kept (notes), open, done, cancelled (tasks), open, won or lost (deals). ``due`` in ms; of a deal it is when
    it is expected to close. ``at`` is when it came to be. ``data`` holds what has no column.
    """

    kind: str
    id: str
    profile: int
    origin: int
    status: str
    stage: str | None
    assignee: str | None
    due: int | None
    amount: float | None
    currency: str | None
    at: int
    changed_at: int
    data: dict[str, Json]


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded merge of ``loser`` into ``winner``; ``undone_at`` when it was taken back."""

    id: str
    winner: int
    loser: int
    at: int
    rule: str
    reason: str
    undone_at: int | None = None


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Work of many steps that one process has begun: ``what``, by ``who`` (for people), told apart by ``token``.

    Held from ``since`` to ``until``, in ms by the store's own clock, unless it is kept for longer.
    """

    name: str
    what: str
    who: str
    token: str
    since: int
    until: int


class Unit:
    """What one unit of work wants written: everything or nothing. Lists are appended to by the loop, read by ``commit``.

    ``memberships`` holds rows entered, ``left`` (segment, profile) pairs. ``timers`` are upserted; a ``due`` of -1 deletes.
    ``actions`` are admitted once per key: a key that exists is skipped silently. ``profiles`` are inserted or replaced.
    """

    __slots__ = (
        "actions", "events", "identifiers", "left", "memberships", "merges", "profiles", "records", "timers",
        "updated_actions",
    )  # fmt: skip

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.profiles: dict[int, Profile] = {}
        self.identifiers: list[IdentifierRow] = []
        self.memberships: list[Membership] = []
        self.left: list[tuple[str, int]] = []
        self.timers: dict[tuple[int, str], int] = {}
        self.actions: list[Action] = []
        self.updated_actions: list[Action] = []
        self.merges: list[Merge] = []
        self.records: list[RecordRow] = []

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


class Connector(Protocol):
    """Speaks to one kind of outside system. Used from several threads at once."""

    name: str
    honours_idempotency: bool
    """Whether the other side drops a second delivery of the same ``action.key``; where not, delivery is at least once."""

    def destination(self, action: Action) -> str:
        """Return what fails together, such as the host: a dead destination is held back alone."""
        ...

    def perform(self, action: Action) -> Outcome:
        """Try once, within the connector's own time limit; say what happened rather than raise."""
        ...

    def close(self) -> None: ...


class ManyConnector(Connector, Protocol):
    """A connector whose other side takes several at once. The deliverer asks ``perform_many`` in place of ``perform``."""

    together: int
    """How many actions of one destination go into one call at most."""

    def at_once(self, action: Action) -> int:
        """Return how many calls may be under way at the action's destination at once."""
        ...

    def perform_many(self, actions: Sequence[Action]) -> Sequence[Outcome]:
        """Try once for all of them, within the time limit of one; return an outcome for each, in order."""
        ...


class CrmAdapter(Protocol):
    """Speaks to one CRM, for whoever asks about a contact. Used from several threads at once; each call within its own time limit."""

    name: str

    def connect(self) -> None:
        """Make ready to be asked. Called before the first question, and again after a failure; raise ``Unavailable`` when not."""
        ...

    def fetch(self, contact_id: str, *, interaction_limit: int) -> CrmContext | None:
        """Return the contact with at most so many of the latest interactions, newest first; None when nobody is known as that.

        Raises ``Unavailable`` when the CRM does not answer.
        """
        ...

    def upsert(self, contact: Contact) -> str:
        """Create the contact, or change what is given of it; return its id."""
        ...

    def delete(self, contact_id: str) -> bool:
        """Erase the contact; return False when nobody is known as that."""
        ...


class Batch(Protocol):
    """Set-based evaluation of resolved expressions over all profiles (merged-away ones excluded) as of an instant."""

    def until(self, deadline: Deadline) -> Batch:
        """Return the same with an end: a question that is not answered by then raises ``OverTime`` and is no longer worked on."""
        ...

    def count(self, condition: Node, instant: int, *, kind: str = "person") -> int:
        """Return for how many profiles the condition is true."""
        ...

    def members(
        self, condition: Node, instant: int, *, limit: int | None = None, after: int = 0, kind: str = "person"
    ) -> list[int]:
        """Return the keys of the profiles for which the condition is true, ascending, above ``after``."""
        ...

    def values(self, expressions: Mapping[str, Node], instant: int, profiles: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return for each profile key the value of each named expression (None: unknown)."""
        ...

    def tables(self, conditions: Mapping[str, Node], instant: int, *, kind: str = "person") -> dict[str, list[int]]:
        """Return the members of many conditions in as few passes as the engine allows."""
        ...

    def wakes(self, condition: Node, instant: int, *, kind: str = "person") -> Iterator[tuple[int, int]]:
        """Yield (profile, due) with a due in the future that is not later than the first instant the condition can change
        for that profile without a new event; profiles for which it cannot are left out."""
        ...


class Clause(msgspec.Struct, frozen=True):
    """A test of one attribute: ``eq`` a value, ``in`` a list of values, or ``contains`` (part of a text in any case, member of a list).

    ``name`` is a path such as ``account.tier``.
    """

    name: str
    op: Literal["eq", "in", "contains"]
    value: Any


class Criteria(msgspec.Struct, frozen=True, kw_only=True):
    """Which people are asked for; everything that is given has to hold. Nothing given: everybody.

    ``text`` are words that all occur somewhere in a person's texts, ``name`` a name that may be misspelt. ``profiles`` are keys.
    """

    status: str | None = None
    domain: str | None = None
    tag: str | None = None
    segment: str | None = None
    attributes: tuple[Clause, ...] = ()
    text: str | None = None
    name: str | None = None
    profiles: tuple[int, ...] | None = None


class Hits(NamedTuple):
    """Keys of people in order, the cursor of what follows (None at the end), and a score for each where relevance was asked."""

    keys: list[int]
    next: str | None
    scores: dict[int, float]


class Numbers(NamedTuple):
    """Counts over all people: in all, by status, with enrichment, with a verified e-mail, with engagement, engagements."""

    total: int
    by_status: dict[str, int]
    enriched: int
    verified: int
    engaged: int
    engagements: int


class Likeness(NamedTuple):
    """People (by key) who have something in common that makes them suspect of being one: what it is, and who they are."""

    what: Literal["name", "mail", "phone"]
    keys: tuple[int, ...]


class People(Protocol):
    """Finds people by what is known of them: a read model that catches up with the record when it is asked."""

    @property
    def search(self) -> str:
        """How texts are searched here: ``trigram`` (indexed), or ``plain`` (every text is read)."""
        ...

    def page(self, criteria: Criteria, *, sort: str, descending: bool, after: str | None, limit: int) -> Hits:
        """Return some people in order of ``name``, ``created_at``, ``updated_at``, ``status`` or ``relevance``."""
        ...

    def keys(self, criteria: Criteria) -> list[int]:
        """Return the keys of all whom the criteria hold for, ascending."""
        ...

    def count(self, criteria: Criteria) -> int: ...
    def numbers(self, engagements: Sequence[str]) -> Numbers:
        """Return counts; ``engagements`` are the event types that count as such."""
        ...

    def alike(self, *, limit: int) -> list[Likeness]:
        """Return groups of people with the same name, the same mailbox but for dots, digits and tags, or the same phone."""
        ...

    def follow(self, progress: Any = None) -> None:
        """Catch up with the record now; ``progress`` is told (done, total)."""
        ...

    def erased(self, profiles: Sequence[int]) -> None:
        """Leave no trace of those of these profiles that the record has no more."""
        ...

    def close(self) -> None: ...


class CrmStore(Protocol):
    """What is kept of connections to CRMs: themselves, links between records and profiles, and sealed credentials."""

    def connection(self, name: str) -> Connection | None: ...
    def connections(self) -> list[Connection]: ...
    def put_connection(self, connection: Connection) -> None:
        """Insert or replace all of it but its cursors, which ``put_cursor`` alone moves once it is there."""
        ...

    def put_cursor(self, connection: str, what: str, cursor: str | None, *, now: int) -> None:
        """Note where reading ``what`` stands; None: from the beginning."""
        ...

    def drop_connection(self, name: str) -> bool:
        """Remove a connection with its links and credentials; return whether it was there."""
        ...

    def links(self, connection: str, records: Sequence[str]) -> dict[str, Link]:
        """Return the links of these records, by record."""
        ...

    def links_of(self, profiles: Sequence[int], *, connection: str | None = None) -> list[Link]:
        """Return all links of these profiles."""
        ...

    def page_links(self, connection: str, *, after: str = "", limit: int = 1000) -> list[Link]:
        """Return links of a connection in order of record."""
        ...

    def put_links(self, links: Sequence[Link]) -> None:
        """Insert or replace, in one transaction."""
        ...

    def drop_links(self, profile: int) -> None:
        """Forget which records stand for a profile."""
        ...

    def secret(self, name: str) -> tuple[int, str] | None:
        """Return the version and the sealed text of a secret."""
        ...

    def secrets(self) -> list[str]:
        """Return the names of all secrets."""
        ...

    def put_secret(self, name: str, sealed: str, *, expected: int | None, now: int) -> bool:
        """Store a secret when its version is the ``expected`` one (0: there is none; None: whatever is there); else return False."""
        ...

    def drop_secret(self, name: str) -> bool:
        """Remove a secret; return whether it was there."""
        ...


class Store(Protocol):
    """The record: events, profiles, definitions, memberships, timers, outbox. ``batch()`` evaluates set-based."""

    url: str

    @property
    def crm(self) -> CrmStore:
        """Connections to CRMs, their links and credentials."""
        ...

    # life ------------------------------------------------------------------------------------------------
    def close(self) -> None: ...
    def commit(self, unit: Unit) -> bool:
        """Write a unit durably. Return True when this store object was the last writer before (its readers' caches hold),
        False when another process wrote in between: nothing was written then, and the caller must reload and redo."""
        ...

    def claim(self) -> bool:
        """Notice from now on what others write, without writing anything; return False if another process wrote since we last
        wrote or claimed."""
        ...

    def others_wrote(self, *, within: float = 0.0) -> bool:
        """Return whether another process wrote since we last wrote or claimed; the answer may be ``within`` seconds old, so
        that who asks all the time need not wait for a server each time."""
        ...

    def alone(self) -> AbstractContextManager[bool]:
        """Keep everybody else from writing: what this thread reads and writes inside is one transaction, all or nothing.

        Gives whether nobody else wrote since we last did or claimed; if not, memory is to be read anew, here inside.
        """
        ...

    # leases ----------------------------------------------------------------------------------------------
    def lease(self, name: str) -> Lease | None:
        """Return who holds a lease; None when nobody does, its time is over, or its process is known to have died."""
        ...

    def take_lease(self, name: str, token: str, what: str, *, lasting: int) -> Lease:
        """Take a lease that nobody holds, for so many ms; return whose it is then: ours has our token."""
        ...

    def keep_lease(self, name: str, token: str, *, lasting: int) -> bool:
        """Make our lease last for so many ms from now; False when it has become another's."""
        ...

    def drop_lease(self, name: str, token: str) -> None:
        """Give our lease back."""
        ...

    # the rest of life ------------------------------------------------------------------------------------

    def batch(self) -> Batch: ...
    def last_seq(self) -> int: ...
    def get_meta(self, key: str) -> str | None: ...
    def set_meta(self, key: str, value: str) -> None: ...

    # events ----------------------------------------------------------------------------------------------
    def known_ids(self, ids: Sequence[str]) -> set[str]:
        """Return which of these event ids are stored."""
        ...

    def history(self, profiles: Sequence[int], types: Iterable[str] | None = None) -> dict[int, list[Event]]:
        """Return each profile's events in (at, seq) order, of these types or of all."""
        ...

    def timeline(self, profile: int, *, before: tuple[int, int] | None = None, limit: int = 50) -> list[Event]:
        """Return a profile's events newest first, older than the (at, seq) given."""
        ...

    def events(self, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return the log in order of seq."""
        ...

    def event(self, event_id: str) -> Event | None: ...

    # profiles --------------------------------------------------------------------------------------------
    def resolve(self, identifiers: Sequence[Identifier]) -> dict[Identifier, IdentifierRow]: ...
    def profiles(self, keys: Sequence[int]) -> dict[int, Profile]: ...
    def profiles_by_id(self, ids: Sequence[str]) -> dict[str, Profile]: ...
    def page_profiles(self, *, after: int = 0, limit: int = 50, kind: str | None = None) -> list[Profile]: ...
    def count_profiles(self) -> int: ...
    def next_profile_key(self) -> int: ...
    def identifiers(self, profile: int) -> list[IdentifierRow]: ...
    def rekey(self, unit: Unit, *, loser: int, winner: int) -> bool:
        """In one transaction with ``unit``: give the loser's events and identifiers to the winner, drop its memberships and
        timers. False as ``commit``."""
        ...

    def unrekey(self, unit: Unit, *, winner: int, origins: Sequence[int], loser: int) -> bool:
        """Undo: events and identifiers of the winner whose origin is one of ``origins`` go back to ``loser``. False as
        ``commit``."""
        ...

    def merges(self, profile: int | None = None) -> list[Merge]: ...
    def forget(self, profile: int) -> int:
        """Erase a profile everywhere (also what it was merged from, the outbox, columns kept for batch); return rows erased."""
        ...

    def forget_all(self, profiles: Sequence[int]) -> int:
        """Erase many profiles that were never merged with anybody, all or none; return rows erased."""
        ...

    # definitions -----------------------------------------------------------------------------------------
    def definitions(self, *, kind: str | None = None, name: str | None = None, status: str | None = None) -> list[Definition]: ...
    def save_definition(self, definition: Definition) -> None:
        """Insert or replace one version."""
        ...

    # memberships, timers ---------------------------------------------------------------------------------
    def memberships(self, profiles: Sequence[int]) -> dict[int, list[Membership]]: ...
    def members(self, segment: str, *, after: int = 0, limit: int = 50) -> list[Membership]: ...
    def segment_sizes(self) -> dict[str, int]: ...
    def overlap(self, segments: Sequence[str]) -> dict[tuple[str, str], int]: ...
    def replace_members(self, segment: str, version: int, members: Sequence[int], at: int, event_ids: str) -> tuple[int, int]:
        """Set-based: make ``members`` the segment's members, keeping ``entered_at`` of those who stay, and append a
        ``segment.entered``/``segment.exited`` event (reason ``activation``, ids ``<event_ids>:<profile>``) for each change;
        return (entered, exited)."""
        ...

    def flows(self, segment: str, since: int, until: int, step: int) -> list[tuple[int, int, int]]:
        """Return (start of the step, entered, exited) from the segment's events."""
        ...

    def due_timers(self, until: int, *, limit: int = 1000) -> list[Timer]: ...
    def next_due(self) -> int | None: ...
    def arm(self, key: str, dues: Iterable[tuple[int, int]]) -> None:
        """Set-based: (profile, due) pairs; a timer that is already earlier stays."""
        ...

    # notes, tasks and deals ----------------------------------------------------------------------------
    def records(
        self, kind: str, *, id: str | None = None, profile: int | None = None, status: str | None = None,
        assignee: str | None = None, stage: str | None = None, due_before: int | None = None,
        after: tuple[int, int, int, str] | None = None, limit: int = 50,
    ) -> list[RecordRow]:  # fmt: skip
        """Return records in the order of ``(due, at, profile, id)``, those without a due last, from ``after`` on."""
        ...

    def deal_totals(self) -> list[tuple[str | None, str, str | None, int, float]]:
        """Return (stage, status, currency, how many, sum of amounts) of all deals."""
        ...

    def told_of(self, types: Iterable[str], after: int) -> list[int]:
        """Return the profiles that have events of these types numbered above ``after``, ascending."""
        ...

    def replace_records(self, profiles: Sequence[int], rows: Sequence[RecordRow]) -> None:
        """Make the rows all the records that these profiles have."""
        ...

    def contacts_of(self, company_id: str, *, after: int = 0, limit: int = 50) -> list[Profile]:
        """Return people whose attribute ``company_id`` is this, by key."""
        ...

    # outbox ----------------------------------------------------------------------------------------------
    def lease_actions(self, now: int, *, limit: int, lease: int) -> list[Action]:
        """Take due actions for delivery: status becomes ``sending``, due becomes now + lease (a dead deliverer's come back), and
        an attempt is counted, which whoever does not try after all has to take back."""
        ...

    def hurry_actions(self, connector: str, field: str, value: str, now: int) -> int:
        """Make due what waits of a connector's actions with this text in their payload; return how many."""
        ...

    def actions(
        self, *, status: str | None = None, profile: int | None = None, after: int = 0, limit: int = 50
    ) -> list[Action]: ...
    def action(self, key: str) -> Action | None: ...
    def unsettled(self, connector: str, profiles: Sequence[int], *, before: int) -> list[Action]:
        """Return what waits or is under way of a connector's actions for these profiles, admitted before the number, in order."""
        ...

    def unsettled_by(self, connector: str, field: str) -> dict[str, tuple[int, int]]:
        """Return by a text of the payload how many of a connector's actions are unsettled, and when the oldest was admitted."""
        ...

    def count_actions(self) -> dict[str, int]: ...
    def sent_since(self, profile: int, channel: str, since: int) -> int:
        """Return how many actions on a channel were sent or are on their way to the profile since an instant."""
        ...

    # the rest --------------------------------------------------------------------------------------------
    def remember_reply(self, key: str, digest: str, reply: Json, at: int) -> None: ...
    def recall_reply(self, key: str) -> tuple[str, Json] | None: ...
    def save_key(self, row: Mapping[str, Json]) -> None:
        """Insert or replace an API key: id, name, hash, scopes, created_at, expires_at, revoked_at."""
        ...

    def keys(self) -> list[dict[str, Json]]: ...
    def bulk(self) -> Any:
        """Return the bulk loader (see ``storage/sql/bulk.py``)."""
        ...


class NoAnswer(Exception):
    """A language model gave no answer that can be used.

    ``why`` is one of ``off``, ``budget``, ``timeout``, ``unreachable``, ``busy``, ``unauthorized``, ``rejected``, ``filtered``,
    ``cut_off``, ``too_large``, ``invalid``; the message says it in a clause, without anything of what was asked.
    """

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class LanguageModel(Protocol):
    """Writes text when asked; what identifies people is replaced before anything leaves, and put back in the answer."""

    def ask(self, task: str, text: str, shape: type[Shape], *, hidden: Mapping[str, str] | None = None) -> Shape:
        """Return the answer to a task about a text, in a shape (a struct of texts and lists of them).

        ``hidden`` maps values that must not leave (names, ids) to what they are (``PERSON``, ``COMPANY``). Raises ``NoAnswer``.
        """
        ...
