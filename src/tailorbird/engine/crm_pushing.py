"""What changed with us is written into the CRM: only changed, mapped fields, in batches, with a result per row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from tailorbird.connectors.rest.errors import RemoteConflict, RemoteError
from tailorbird.core.connection import Link
from tailorbird.core.event import PROFILE_UPDATED, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile
from tailorbird.crm.conflicts import CONSENT, to_push
from tailorbird.crm.mapping import CrmMapping, write_field
from tailorbird.crm.model import Record, Row, Written
from tailorbird.crm.port import CrmConnector
from tailorbird.engine.crm_taking import TAGS, ours_of
from tailorbird.engine.parts import Parts
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.ingest import OWN_IDS

__all__ = ["FIELDS_DROPPED", "Failure", "Job", "Planned", "Pushed", "plan", "push_rows", "write_planned"]

FIELDS_DROPPED: Final = "crm.fields_dropped"
_NAMES: Final = ("email", "phone")

Lists = Literal["merge", "replace"]


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What is written of one person: ``record`` is None where one is found by ``match`` or made; ``values`` in the CRM's words.

    ``optouts`` are channels and purposes (``email/marketing``) whose withdrawal is written.
    """

    profile: str
    record: str | None
    values: dict[str, Json]
    match: dict[str, str] = {}
    lists: Lists = "replace"
    optouts: tuple[str, ...] = ()


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not written: whose, the error's code, and why in words."""

    profile: str
    record: str | None
    error: str
    detail: str


@dataclass(slots=True)
class Pushed:
    """What a push did, or with ``dry_run`` would do."""

    dry_run: bool = False
    rows: list[Planned] = field(default_factory=list)
    written: int = 0
    created: int = 0
    failed: list[Failure] = field(default_factory=list)
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, other: Pushed) -> None:
        """Count another's in."""
        self.rows += other.rows
        self.written += other.written
        self.created += other.created
        self.failed += other.failed
        self.dropped.update(other.dropped)


class Job(msgspec.Struct, kw_only=True):
    """One row on its way, with what is noted in its link once it is written."""

    planned: Planned
    owner: Profile
    link: Link
    said: dict[str, Json]
    row: Row | None


def plan(
    parts: Parts, connector: CrmConnector, mapping: CrmMapping, people: Sequence[tuple[Profile, Sequence[Link]]], *, connection: str,
    create: bool = False,
) -> list[Job]:  # fmt: skip
    """Return what there is to write of these people and their records, by what is known of the CRM; nothing is asked or written.

    With ``create`` also of those without a record; who had one that was deleted there is not made again.
    """
    jobs: list[Job] = []
    for profile, links in people:
        for link in links:
            if link.gone_at is None:
                jobs += _jobs(parts, connector, mapping, profile, link)
        if create and not links and profile.kind == "person":
            jobs += _jobs(parts, connector, mapping, profile, Link(connection=connection, record="", profile=profile.key))
    return jobs


def _jobs(parts: Parts, connector: CrmConnector, mapping: CrmMapping, profile: Profile, link: Link) -> Iterator[Job]:
    names = _names(parts, mapping, profile)
    said: dict[str, Json] = {}
    values: dict[str, Json] = {}
    for item in mapping.fields:
        ours = ours_of(item, profile, names)
        if to_push(item, link, ours):
            said[item.field] = ours.value
            values[item.field] = write_field(item, ours.value)
    lists: Lists = "replace"
    if mapping.tags == "merge":
        lists = _tags(connector, profile, link, said, values)
    optouts = tuple(
        item for item, given in sorted(profile.consents.items())
        if not given and mapping.consent == "both" and item.partition("/")[0] in connector.capabilities.consent
        and link.seen.get(CONSENT + item) is not False and link.pushed.get(CONSENT + item) is not False
    )  # fmt: skip
    if not values and not (optouts and link.record):
        return
    match = {} if link.record else {n: v for n in _NAMES if (v := names.get(n) or _text(profile.attributes.get(n)))}
    if not link.record and not match:
        return  # who cannot be found again would be made twice
    state = msgspec.json.encode(values, order="deterministic").decode()
    key = digest("crm push", link.connection, profile.id, link.record, str(link.pushed_at), state)
    row = (
        Row(key=key, values=values, id=link.record or None, match=match, object=link.object or mapping.object) if values else None
    )
    planned = Planned(profile=profile.id, record=link.record or None, values=values, match=match, lists=lists, optouts=optouts)
    yield Job(planned=planned, owner=profile, link=link, said=said, row=row)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _names(parts: Parts, mapping: CrmMapping, profile: Profile) -> dict[str, str]:
    """Return the identifiers that stand in for an address or number that is no attribute."""
    wanted = [item.attribute for item in mapping.fields if item.attribute in _NAMES and item.attribute not in profile.attributes]
    found: dict[str, str] = {}
    for row in parts.store.identifiers(profile.key) if wanted else ():
        if row.kind in wanted:
            found.setdefault(row.kind, row.value)
    return found


def _tags(connector: CrmConnector, profile: Profile, link: Link, said: dict[str, Json], values: dict[str, Json]) -> Lists:
    """Note the tags that are written, if any; return whether they are added to those there or take their place."""
    base = set(link.pushed.get(TAGS, link.seen.get(TAGS)) or ())
    ours = {tag for tag in profile.tags if not tag.startswith("suppressed:")}
    added, removed = ours - base, base - ours
    if not added and not removed:
        return "replace"
    said[TAGS] = sorted(ours)
    merge = connector.capabilities.lists and not removed
    values[TAGS] = sorted(added if merge else ours)
    return "merge" if merge else "replace"


def push_rows(connector: CrmConnector, rows: Sequence[Row], *, lists: Lists = "replace") -> list[Written]:
    """Write rows in batches of the vendor's size; return a result for each, in order.

    One that is refused because a record exists already is written onto that record. Raises ``RemoteError`` when a whole batch fails:
    what was written before is found unchanged the next time.
    """
    results: list[Written] = []
    for batch in _batches(connector, rows):
        results += _write(connector, batch, lists)
    return results


def _batches(connector: CrmConnector, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    size = max(1, connector.capabilities.limits.batch_write)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _write(connector: CrmConnector, rows: Sequence[Row], lists: Lists) -> list[Written]:
    if connector.capabilities.upsert_many:
        found = connector.upsert_many(rows, lists=lists)
    else:
        found = [_one(connector, row, lists) for row in rows]
    return [
        _one(connector, msgspec.structs.replace(row, id=done.id), lists)
        if done.error == RemoteConflict.code and done.id and done.id != row.id and row.id is None
        else done
        for row, done in zip(rows, found, strict=True)
    ]


def _one(connector: CrmConnector, row: Row, lists: Lists) -> Written:
    try:
        return connector.update(row, lists=lists) if row.id else connector.create(row)
    except RemoteConflict as error:
        if error.existing and row.id is None:
            return _one(connector, msgspec.structs.replace(row, id=error.existing), lists)
        return Written(key=row.key, id=error.existing, error=error.code, detail=error.message)
    except RemoteError as error:
        if error.http_status is None or error.http_status >= 500 or error.http_status in (401, 403, 429):
            raise  # the next one would fare no better
        return Written(key=row.key, error=error.code, detail=error.message, retry_after=error.retry_after)


def write_planned(
    parts: Parts, connector: CrmConnector, jobs: Sequence[Job], *, now: int, progress: Callable[[int], None] | None = None
) -> Pushed:
    """Write what was planned; links are noted batch by batch, so that a push that is cut short goes on where it was."""
    pushed = Pushed()
    for lists in ("merge", "replace"):
        chosen = [job for job in jobs if job.planned.lists == lists and job.row is not None]
        by_key = {job.row.key: job for job in chosen if job.row is not None}
        for batch in _batches(connector, [job.row for job in chosen if job.row is not None]):
            results = _write(connector, batch, lists)
            _note(parts, [(by_key[row.key], done) for row, done in zip(batch, results, strict=True)], pushed, now)
            if progress is not None:
                progress(len(batch))
    _opt_out(parts, connector, [job for job in jobs if job.planned.optouts and job.link.record], pushed, now)
    pushed.rows = [job.planned for job in jobs]
    return pushed


def _note(parts: Parts, results: Iterable[tuple[Job, Written]], pushed: Pushed, now: int) -> None:
    drafts: list[Draft] = []
    links: list[Link] = []
    for job, done in results:
        if done.error:
            pushed.failed.append(
                Failure(profile=job.planned.profile, record=job.planned.record, error=done.error, detail=done.detail)
            )
            continue
        record = done.id or job.link.record
        pushed.written += 1
        pushed.created += done.created
        link = job.link
        job.link = msgspec.structs.replace(link, record=record, pushed={**link.pushed, **job.said}, pushed_at=now)
        if record:
            links.append(job.link)
        if record and not link.record:
            drafts.append(_known_as(parts, job.owner, link.connection, record))
        if done.dropped:
            pushed.dropped[job.planned.profile] = done.dropped
            drafts.append(_dropped(job, record, done.dropped))
    if links:
        parts.store.crm.put_links(links)
    if drafts:
        parts.loop.take(drafts, now)


def _known_as(parts: Parts, owner: Profile, connection: str, record: str) -> Draft:
    """Return the event by which a person is known by the id of the record that was made of them."""
    names = {row.kind: row.value for row in reversed(parts.store.identifiers(owner.key))}
    source = f"crm:{connection}"
    return Draft(
        type=PROFILE_UPDATED, data={"attributes": {}}, identifiers={**names, source: record}, source=source,
        id=OWN_IDS + digest("crm known", connection, owner.id, record),
    )  # fmt: skip


def _dropped(job: Job, record: str, fields: tuple[str, ...]) -> Draft:
    data: dict[str, Json] = {"connection": job.link.connection, "record": record, "fields": list(fields)}
    assert job.row is not None
    return Draft(
        type=FIELDS_DROPPED, data=data, profile=job.owner.id, kind=job.owner.kind, source=f"crm:{job.link.connection}",
        id=OWN_IDS + digest("crm dropped", job.row.key),
    )  # fmt: skip


def _opt_out(parts: Parts, connector: CrmConnector, jobs: Sequence[Job], pushed: Pushed, now: int) -> None:
    for job in jobs:
        done: Mapping[str, Json] = {}
        for name in job.planned.optouts:
            channel, _, purpose = name.partition("/")
            try:
                connector.set_consent(
                    Record(id=job.link.record, object=job.link.object or "contact", email=_text(job.owner.attributes.get("email"))),
                    channel, False, purpose=purpose or "marketing",
                )  # fmt: skip
            except RemoteError as error:
                failure = Failure(profile=job.planned.profile, record=job.link.record, error=error.code, detail=error.message)
                pushed.failed.append(failure)
                continue
            done = {**done, CONSENT + name: False}
        if done:
            pushed.written += job.row is None
            link = msgspec.structs.replace(job.link, pushed={**job.link.pushed, **done}, pushed_at=now)
            parts.store.crm.put_links([link])
