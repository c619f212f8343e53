"""Contacts: the small CRM. Stages, engagements, notes, tasks, deals, and the people of a company."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

import msgspec

from tailorbird.core.event import STAGE_CHANGED, Event, Json
from tailorbird.core.profile import IdentifierKind, Profile
from tailorbird.engine.contactviews import (
    ContactPage,
    ContactView,
    DealPage,
    DealView,
    NoteView,
    PipelineRow,
    StageMove,
    StageView,
    TaskPage,
    TaskView,
)
from tailorbird.engine.parts import Parts
from tailorbird.engine.people import accepted
from tailorbird.engine.refs import find_profile, read_instant
from tailorbird.errors import Conflict, InvalidInput, NotFound
from tailorbird.ports import RecordRow
from tailorbird.profiles.companies import COMPANY, group_drafts
from tailorbird.profiles.drafts import Draft
from tailorbird.profiles.engagements import event_type
from tailorbird.profiles.lifecycle import SOURCE, STATUS, Lifecycle
from tailorbird.profiles.normalise import COMPANY_ID
from tailorbird.profiles.pipeline import Pipeline
from tailorbird.profiles.records import DEAL, NOTE, TASK
from tailorbird.runtime.ingest import Incoming, Receipt

__all__ = ["Contacts"]

_UNFIT: Final = re.compile("[\x00\ud800-\udfff]")
_TEXT: Final = 20_000
_NAME: Final = 200
_MAIL: Final = (
    "gmail.com googlemail.com outlook.com hotmail.com live.com msn.com yahoo.com ymail.com icloud.com me.com mac.com aol.com "
    "gmx.de gmx.net gmx.at gmx.ch web.de t-online.de freenet.de proton.me protonmail.com pm.me mail.com mail.ru yandex.ru qq.com "
    "163.com 126.com orange.fr free.fr laposte.net libero.it"
)
_SHARED_MAIL: Final = frozenset(_MAIL.split())
"""Domains whose addresses say nothing of where a person works."""


@dataclass(frozen=True, slots=True)
class Contacts:
    """The verbs of the small CRM of one engine; ``ref`` arguments as everywhere, instants in ms, ``datetime`` or ISO text.

    Everything is an event of the contact (or company) it is about, so it stands in their timeline, can be asked about in
    expressions, goes along in a merge and goes away with ``forget``.
    """

    parts: Parts

    # ---- the life cycle

    @property
    def lifecycle(self) -> Lifecycle:
        """What people go through. Raises ``Conflict`` where ``status`` is declared as something that is not text."""
        found = self.parts.catalog.lifecycle
        if found is None:
            raise Conflict("There is no life cycle: the attribute status is not text here.", hint="Declare it as text.")
        return found

    def stage(self, ref: str) -> StageView:
        """Return where a contact stands, and how they came there."""
        profile = self._person(ref)
        lifecycle = self.lifecycle
        moves = [_move(event) for event in self.parts.store.history([profile.key], (STAGE_CHANGED,)).get(profile.key, ())]
        told = profile.provenance.get(STATUS)
        return StageView(
            profile=profile.id, lifecycle=lifecycle.name, stage=lifecycle.stage_of(profile),
            since=told.at if told is not None and STATUS in profile.attributes else None,
            stages=tuple(stage.name for stage in lifecycle.stages), moves=tuple(reversed(moves)),
        )  # fmt: skip

    def set_stage(self, ref: str, stage: str, *, reason: str = "", source: str = "python") -> StageView:
        """Put a contact into a stage because a person says so.

        Backwards, and out of a stage that is not left by itself, a ``reason`` is needed. Conditions that hold already do
        not move them on from there; later ones do.
        """
        profile, lifecycle = self._person(ref), self.lifecycle
        if stage not in lifecycle.ranks:
            raise InvalidInput(f"{stage!r:.80} is not a stage.", hint=f"Known are: {', '.join(lifecycle.by_name)}.")
        before = lifecycle.stage_of(profile)
        rank = lifecycle.rank(profile)
        back = rank is not None and (lifecycle.ranks[stage] < rank or lifecycle.is_terminal(rank))
        if before == stage:
            return self.stage(profile.id)
        if (back or (before in lifecycle.by_name and lifecycle.by_name[before].from_anywhere)) and not reason.strip():
            raise Conflict(f"From {before} to {stage} leads back.", hint="Say why: reason=…")
        data: dict[str, Json] = {
            "lifecycle": lifecycle.name, "from": before, "to": stage, "rule": "hand", "reason": _fit(reason, "reason", least=0),
        }  # fmt: skip
        self._take(Draft(type=STAGE_CHANGED, data=data, profile=profile.id, source=_source(source)))
        return self.stage(profile.id)

    def disqualify(self, ref: str, *, reason: str, source: str = "python") -> StageView:
        """Put a contact into the stage ``disqualified``, or the first that is entered from anywhere."""
        apart = [stage.name for stage in self.lifecycle.stages if stage.from_anywhere]
        if not apart:
            raise Conflict("The life cycle has no stage that is entered from anywhere.", hint="Give it one: from_anywhere: true.")
        return self.set_stage(ref, "disqualified" if "disqualified" in apart else apart[0], reason=reason, source=source)

    # ---- engagements

    def record_engagement(
        self, ref: str, type: str, *, at: Any = None, metadata: Mapping[str, Json] | None = None, id: str | None = None,
        source: str = "python",
    ) -> Receipt:  # fmt: skip
        """Note that a contact did something: a name as contact files have them (``reply_received``), or any event type.

        A reply with ``text`` gets its sentiment. Returns the receipt; raises ``InvalidEvent``.
        """
        event = Incoming(
            type=event_type(type), data=msgspec.to_builtins(dict(metadata or {})), profile=self._person(ref).id, id=id,
            at=None if at is None else read_instant(at, anywhere=True), source=source,
        )  # fmt: skip
        return accepted(self.parts.loop.take([event], self.parts.now()))[0]

    # ---- notes

    def add_note(self, ref: str, text: str, *, by: str | None = None, source: str = "python") -> NoteView:
        """Write a note about a contact or company."""
        data: dict[str, Json] = {"text": _fit(text, "text", most=_TEXT)}
        if by is not None:
            data["by"] = _fit(by, "by")
        return self._note(
            self._open(NOTE, "note.added", find_profile(self.parts.store, ref, region=self.parts.region), data, source)
        )

    def notes(self, ref: str, *, limit: int = 100) -> list[NoteView]:
        """Return the notes about a contact or company, newest first."""
        profile = find_profile(self.parts.store, ref, region=self.parts.region)
        rows = self.parts.store.records(NOTE, profile=profile.key, limit=10_000)
        return [self._note(row) for row in reversed(rows)][:limit]

    # ---- tasks

    def add_task(self, ref: str, title: str, *, due: Any = None, assignee: str | None = None, source: str = "python") -> TaskView:
        """Give a person some work about a contact or company."""
        data: dict[str, Json] = {"title": _fit(title, "title", most=_TEXT)}
        if due is not None:
            data["due"] = read_instant(due, "due")
        if assignee is not None:
            data["assignee"] = _fit(assignee, "assignee")
        profile = find_profile(self.parts.store, ref, region=self.parts.region)
        return self._task(self._open(TASK, "task.created", profile, data, source))

    def complete_task(self, id: str, *, outcome: str = "", source: str = "python") -> TaskView:
        """Note that a task is done. Raises ``NotFound``, and ``Conflict`` where it is not open."""
        return self._task(self._end(TASK, id, "task.completed", {"outcome": _fit(outcome, "outcome", least=0)}, source))

    def cancel_task(self, id: str, *, reason: str = "", source: str = "python") -> TaskView:
        """Take a task back."""
        return self._task(self._end(TASK, id, "task.cancelled", {"outcome": _fit(reason, "reason", least=0)}, source))

    def tasks(
        self, *, assignee: str | None = None, status: str | None = "open", ref: str | None = None, due_before: Any = None,
        after: str | None = None, limit: int = 50,
    ) -> TaskPage:  # fmt: skip
        """Return some tasks, those due first first; ``status`` None: of any."""
        if status not in (None, "open", "done", "cancelled"):
            raise InvalidInput(f"{status!r:.40} is no status of a task.", hint="Known are: open, done, cancelled.")
        profile = None if ref is None else find_profile(self.parts.store, ref, region=self.parts.region).key
        rows = self.parts.store.records(
            TASK, profile=profile, status=status, assignee=_maybe(assignee, "assignee"), after=_place(after), limit=limit + 1,
            due_before=None if due_before is None else read_instant(due_before, "due_before"),
        )  # fmt: skip
        names = self._public(rows[:limit])
        return TaskPage(tuple(self._task(row, names) for row in rows[:limit]), _next(rows, limit))

    # ---- deals

    def open_deal(
        self, ref: str, name: str, *, amount: float | None = None, currency: str | None = None, stage: str | None = None,
        pipeline: str | None = None, due: Any = None, id: str | None = None, source: str = "python",
    ) -> DealView:  # fmt: skip
        """Open a deal with a contact or company, by default in the first stage; ``due`` is when it should close.

        ``id`` is its id elsewhere. Raises ``Conflict`` where a deal has that id.
        """
        line = self._pipeline(pipeline)
        data: dict[str, Json] = {"name": _fit(name, "name"), "pipeline": line.name, "stage": _stage(line, stage or line.names[0])}
        data |= _money(amount, currency)
        if due is not None:
            data["due"] = read_instant(due, "due")
        profile = find_profile(self.parts.store, ref, region=self.parts.region)
        if id is not None and self.parts.store.records(DEAL, id=_fit(id, "id"), limit=1):
            raise Conflict(f"There is a deal {id!r:.80} already.", hint="Move it, or leave the id out.")
        return self._deal(self._open(DEAL, "deal.opened", profile, data, source, id=id))

    def move_deal(
        self, id: str, stage: str, *, amount: float | None = None, currency: str | None = None, source: str = "python"
    ) -> DealView:
        """Move an open deal to another stage of its pipeline, forth or back."""
        row = self._record(DEAL, id)
        line = self._pipeline(str(row.data.get("pipeline") or "") or None)
        return self._deal(self._end(DEAL, id, "deal.moved", {"stage": _stage(line, stage), **_money(amount, currency)}, source))

    def win_deal(self, id: str, *, amount: float | None = None, currency: str | None = None, source: str = "python") -> DealView:
        """Note that a deal was won; the contact moves on in the life cycle."""
        return self._deal(self._end(DEAL, id, "deal.won", _money(amount, currency), source))

    def lose_deal(self, id: str, *, reason: str = "", source: str = "python") -> DealView:
        """Note that a deal was lost, and why."""
        return self._deal(self._end(DEAL, id, "deal.lost", {"reason": _fit(reason, "reason", least=0)}, source))

    def deals(
        self, *, ref: str | None = None, status: str | None = None, stage: str | None = None, after: str | None = None,
        limit: int = 50,
    ) -> DealPage:  # fmt: skip
        """Return some deals, those expected to close first first."""
        if status not in (None, "open", "won", "lost"):
            raise InvalidInput(f"{status!r:.40} is no status of a deal.", hint="Known are: open, won, lost.")
        profile = None if ref is None else find_profile(self.parts.store, ref, region=self.parts.region).key
        rows = self.parts.store.records(
            DEAL,
            profile=profile,
            status=status,
            stage=_maybe(stage, "stage"),
            after=_place(after),
            limit=limit + 1,
        )
        names = self._public(rows[:limit])
        return DealPage(tuple(self._deal(row, names) for row in rows[:limit]), _next(rows, limit))

    def pipeline(self) -> list[PipelineRow]:
        """Return what is in each stage, by currency: the open stages in their order, then what was won and lost."""
        weights = {name: share for line in self.parts.catalog.pipelines.values() for name, share in line.stages}
        order = {name: place for place, name in enumerate(weights)}
        found = []
        for stage, status, currency, count, amount in self.parts.store.deal_totals():
            share = {"won": 1.0, "lost": 0.0}.get(status, weights.get(stage or "", 0.0))
            found.append(
                PipelineRow(
                    stage=stage or status, status=status, probability=share, currency=currency, deals=count, amount=amount,
                    weighted=amount * share,
                )
            )  # fmt: skip
        ends = {"open": 0, "won": 1, "lost": 2}
        return sorted(found, key=lambda row: (ends.get(row.status, 3), order.get(row.stage, len(order)), row.currency or ""))

    # ---- companies

    def link_company(
        self, ref: str, company: str | None = None, *, attributes: Mapping[str, Json] | None = None, source: str = "python"
    ) -> str:
        """Say for which company a contact works; return the company's public id.

        Without ``company`` it is the one of their domain: the attribute ``domain``, else that of their e-mail address unless
        it is one that everybody can have. Raises ``InvalidInput`` where neither is known.
        """
        person = self._person(ref)
        known = dict(attributes or {})
        if company is None:
            company = self.domain_of(person)
            known.setdefault("domain", company)
        drafts = group_drafts(company, known, profile=person.id, source=source)
        return str(self._take(*drafts)[0].profile)

    def domain_of(self, person: Profile) -> str:
        """Return the domain that says where a person works. Raises ``InvalidInput`` where none does."""
        domain = person.attributes.get("domain")
        if isinstance(domain, str) and domain.strip():
            return domain.strip().lower()
        mails = [row.value for row in self.parts.store.identifiers(person.key) if row.kind == IdentifierKind.EMAIL]
        for mail in mails:
            domain = mail.rpartition("@")[2].lower()
            if domain and domain not in _SHARED_MAIL:
                return domain
        raise InvalidInput(f"Nothing says where {person.id} works.", hint="Name the company, or set the attribute domain.")

    def company_contacts(self, company: str, *, after: str | None = None, limit: int = 50) -> ContactPage:
        """Return some contacts of a company, named by its company id, its domain where that is its id, or a public id."""
        ids = self._company_ids(company)
        if after is not None and not after.isdigit():
            raise InvalidInput(f"after {after!r:.60} is not a cursor.", hint="Use the value of next from the page before.")
        found = {p.key: p for id_ in ids for p in self.parts.store.contacts_of(id_, after=int(after or 0), limit=limit + 1)}
        people = [found[key] for key in sorted(found)][: limit + 1]
        shown = people[:limit]
        views = tuple(self._contact(profile) for profile in shown)
        return ContactPage(views, str(shown[-1].key) if len(people) > limit else None)

    def _company_ids(self, company: str) -> list[str]:
        try:
            profile = find_profile(self.parts.store, company, region=self.parts.region)
        except (NotFound, InvalidInput):
            profile = None
        if profile is None or profile.kind != COMPANY:
            profile = find_profile(self.parts.store, f"{COMPANY_ID}:{company}", region=self.parts.region)
        return [row.value for row in self.parts.store.identifiers(profile.key) if row.kind == COMPANY_ID]

    # ---- inside

    def _person(self, ref: str) -> Profile:
        profile = find_profile(self.parts.store, ref, region=self.parts.region)
        if profile.kind != "person":
            raise InvalidInput(f"{profile.id} is a {profile.kind}.", hint="Name a person.")
        return profile

    def _take(self, *drafts: Draft | Incoming) -> list[Receipt]:
        return list(accepted(self.parts.loop.take(drafts, self.parts.now())))

    def _open(
        self, kind: str, type_: str, profile: Profile, data: dict[str, Json], source: str, *, id: str | None = None
    ) -> RecordRow:
        id_ = id or f"{kind[0]}_{token_hex(8)}"  # stands in the event, so replay gives it again
        self._take(Incoming(type=type_, data={kind: id_, **data}, profile=profile.id, source=source))
        return self._record(kind, id_)

    def _end(self, kind: str, id_: str, type_: str, data: Mapping[str, Json], source: str) -> RecordRow:
        row = self._record(kind, id_)
        if row.status != "open":
            raise Conflict(f"The {kind} {id_} is {row.status} already.", hint=f"Only an open {kind} can change.")
        said = {name: value for name, value in data.items() if value not in (None, "")}
        public = self.parts.store.profiles([row.profile])[row.profile].id
        self._take(Incoming(type=type_, data={kind: id_, **said}, profile=public, source=source))
        return self._record(kind, id_)

    def _record(self, kind: str, id_: str) -> RecordRow:
        rows = [] if _UNFIT.search(id_) else self.parts.store.records(kind, id=id_, limit=2)
        if not rows:
            raise NotFound(f"There is no {kind} {id_!r:.80}.", hint=f"List what there is with: tailorbird contacts {kind}s")
        if len(rows) > 1:
            raise Conflict(f"{kind} {id_!r:.80} is known of more than one profile.", hint="Use the event of the one you mean.")
        return rows[0]

    def _pipeline(self, name: str | None) -> Pipeline:
        lines = self.parts.catalog.pipelines
        if name is None:
            return next(iter(lines.values()))
        if name not in lines:
            raise NotFound(f"There is no pipeline {name!r:.80}.", hint=f"Known are: {', '.join(lines)}.")
        return lines[name]

    def _public(self, rows: Iterable[RecordRow]) -> dict[int, str]:
        keys = list({row.profile for row in rows})
        return {key: profile.id for key, profile in self.parts.store.profiles(keys).items()} if keys else {}

    def _note(self, row: RecordRow) -> NoteView:
        return NoteView(
            id=row.id, profile=self._public([row]).get(row.profile, ""), text=str(row.data.get("text", "")),
            by=row.data.get("by"), at=row.at,
        )  # fmt: skip

    def _task(self, row: RecordRow, names: Mapping[int, str] | None = None) -> TaskView:
        names = self._public([row]) if names is None else names
        return TaskView(
            id=row.id, profile=names.get(row.profile, ""), title=str(row.data.get("title", "")), status=row.status,
            assignee=row.assignee, due=row.due, at=row.at, changed_at=row.changed_at, outcome=row.data.get("outcome"),
        )  # fmt: skip

    def _deal(self, row: RecordRow, names: Mapping[int, str] | None = None) -> DealView:
        names = self._public([row]) if names is None else names
        said = row.data.get("pipeline")
        lines = self.parts.catalog.pipelines
        line = lines.get(said) if isinstance(said, str) else None
        weights = dict((line or next(iter(lines.values()))).stages)
        share = {"won": 1.0, "lost": 0.0}.get(row.status, weights.get(row.stage or "", 0.0))
        return DealView(
            id=row.id, profile=names.get(row.profile, ""), name=str(row.data.get("name", "")), status=row.status,
            pipeline=said if isinstance(said, str) else next(iter(lines)), stage=row.stage, probability=share, amount=row.amount,
            currency=row.currency, due=row.due, at=row.at, changed_at=row.changed_at, reason=row.data.get("reason"),
        )  # fmt: skip

    def _contact(self, profile: Profile) -> ContactView:
        said = profile.attributes
        parts = [said.get(name) for name in ("first_name", "last_name")]
        name = said.get("name") or " ".join(part for part in parts if isinstance(part, str)) or profile.id
        title = said.get("title")
        return ContactView(
            id=profile.id, name=str(name), title=title if isinstance(title, str) else None, stage=self.lifecycle.stage_of(profile)
        )


def _move(event: Event) -> StageMove:
    data = event.data
    return StageMove(
        at=event.at, before=data.get("from"), to=str(data.get("to")), rule=str(data.get("rule", "hand")),
        reason=str(data.get("reason", "")), source=event.source, event=event.id, cause=event.cause,
    )  # fmt: skip


def _fit(value: Any, name: str, *, least: int = 1, most: int = _NAME) -> str:
    """Return a text from a person, trimmed; raise ``InvalidInput`` where it is none, empty or too long."""
    text = value.strip() if isinstance(value, str) else None
    limit = _TEXT if name in ("text", "reason", "outcome") else most
    if text is None or not least <= len(text) <= limit or _UNFIT.search(text):
        raise InvalidInput(f"{name} must be text of {least} to {limit} characters.")
    return text


def _maybe(value: str | None, name: str) -> str | None:
    return None if value is None else _fit(value, name)


def _source(source: str) -> str:
    if source == SOURCE:
        raise InvalidInput(f"source {source!r} is the life cycle's own.", hint="Say who or what it comes from.")
    return source


def _stage(line: Pipeline, stage: str) -> str:
    if stage not in line.names:
        raise InvalidInput(f"{stage!r:.80} is no stage of the pipeline {line.name}.", hint=f"Known are: {', '.join(line.names)}.")
    return stage


def _money(amount: Any, currency: str | None) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if amount is not None:
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= 1e15:
            raise InvalidInput(f"amount {amount!r:.40} is not an amount.", hint="Give a number from 0 to 1e15.")
        found["amount"] = float(amount)
    if currency is not None:
        if not (isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isalpha()):
            raise InvalidInput(f"currency {currency!r:.40} is not a currency.", hint="Give its three letters, such as EUR.")
        found["currency"] = currency.upper()
    return found


def _next(rows: list[RecordRow], limit: int) -> str | None:
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    return f"{2**53 if last.due is None else last.due}-{last.at}-{last.profile}-{last.id}"


def _place(cursor: str | None) -> tuple[int, int, int, str] | None:
    if cursor is None:
        return None
    parts = cursor.split("-", 3)
    if len(parts) < 4 or not all(part.isdigit() and len(part) < 19 for part in parts[:3]):
        raise InvalidInput(f"after {cursor!r:.60} is not a cursor.", hint="Use the value of next from the page before.")
    return int(parts[0]), int(parts[1]), int(parts[2]), _fit(parts[3], "after")
