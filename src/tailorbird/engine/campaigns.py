"""A campaign's people come in as one import that can be taken back: who it alone brought goes, what it set returns to what it was."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tailorbird.core.event import PROFILE_UPDATED, TAG_ADDED, TAG_REMOVED, Event, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile
from tailorbird.engine.people import accepted
from tailorbird.errors import Conflict, InvalidInput, NotFound, TailorbirdError
from tailorbird.ports import Store
from tailorbird.profiles.engagements import is_delivery
from tailorbird.runtime.ingest import Incoming

if TYPE_CHECKING:
    from tailorbird.engine.facade import Engine

__all__ = ["Campaign", "CampaignReport", "Kept", "Undone", "import_campaign", "listing", "undo"]

_META: Final = "campaigns"
_PAGE: Final = 5_000
_TOGETHER: Final = 500
_TOLD: Final = 1_000  # people kept by an undo that are named
_DERIVED: Final = ("segment.", "stage.", "timer.")
_LIFECYCLE: Final = "lifecycle"  # the source of what follows from a stage
_ENRICHING: Final = ("enrichment.", "email.verified", "email.rejected")
_HEADERS: Final = {
    "firstname": "first_name", "givenname": "first_name", "vorname": "first_name", "prenom": "first_name",
    "lastname": "last_name", "surname": "last_name", "familyname": "last_name", "nachname": "last_name",
    "fullname": "name", "companyname": "company", "organization": "company", "organisation": "company", "employer": "company",
    "jobtitle": "title", "position": "title", "role": "title", "phonenumber": "phone", "mobile": "phone", "telephone": "phone",
    "linkedin": "linkedin_url", "linkedinurl": "linkedin_url", "linkedinprofile": "linkedin_url", "website": "domain",
    "preferredlanguage": "language", "locale": "language", "communicationstyle": "style", "tone": "style",
}  # fmt: skip
_MAILS: Final = ("email", "emailaddress", "mail", "e-mail", "workemail", "businessemail", "contactemail")
_ADDRESS: Final = re.compile(r"[^\s,;<>\"']+@[^\s,;<>\"']+")
_RESERVED: Final = frozenset({"campaign"})
Told = Callable[[int, int], None]


class Campaign(msgspec.Struct, kw_only=True):
    """One import of a campaign: between which events and profiles of the log it stands, and when it was taken back."""

    id: str
    name: str
    file: str
    at: int
    first_seq: int
    first_key: int
    last_seq: int | None = None
    last_key: int | None = None
    rows: int = 0
    created: int = 0
    undone_at: int | None = None


class CampaignReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did: ``people`` it brought or changed, of whom ``created`` are new; ``duplicates`` rows that changed nothing.

    ``enriching`` is how many were given to enrichment, ``note`` why none were, if that went wrong.
    """

    id: str | None
    name: str
    tag: str
    file: str
    rows: int
    people: int
    created: int
    duplicates: int
    rejected: int
    reasons: dict[str, int] = {}
    rejected_path: str | None = None
    enriching: int = 0
    note: str = ""
    dry_run: bool = False
    mapping: dict[str, Any] = {}


class Kept(msgspec.Struct, frozen=True):
    """Somebody, or something of theirs, that an undo left in place, and why."""

    id: str
    what: str
    why: str


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What an undo did: people removed, people whose tags and attributes are as before; ``kept`` names up to 1,000 of the rest."""

    id: str
    name: str
    removed: int
    restored: int
    kept_people: int
    kept: tuple[Kept, ...] = ()


# ---- importing


def import_campaign(
    engine: Engine, name: str, people: str | Path | Sequence[str], *, fields: Mapping[str, str] | None = None,
    tags: Sequence[str] = (), dry_run: bool = False, enrich: bool = True, progress: Told | None = None,
    encoding: str = "utf-8", delimiter: str | None = None, rejected: str | Path | None = None,
) -> CampaignReport:  # fmt: skip
    """Import people for a campaign: a CSV (or JSONL, Parquet) file with a column of addresses, or the addresses themselves.

    Addresses are compared without regard to case. Everybody gets the tag ``campaign:<name>``, the attribute ``campaign`` and
    ``fields``, the same for all. Columns that everybody calls alike become the well-known attributes; others keep their names.
    With ``enrich`` those who changed are given to enrichment, where that is set up. Undone by ``undo``.
    """
    called = " ".join(name.split())
    if not called or len(called) > 150 or not called.isprintable():
        raise InvalidInput(f"{name!r:.60} is not a name for a campaign.", hint="Give 1 to 150 characters.")
    given = {str(k): str(v) for k, v in (fields or {}).items()}
    if wrong := sorted(_RESERVED & set(given)):
        raise InvalidInput(f"the field {wrong[0]} is set by the import itself.", hint="Use another name.")
    with TemporaryDirectory(prefix="tailorbird-campaign-") as scratch:
        path = Path(people) if isinstance(people, str | Path) else _write_list(people, Path(scratch))
        if not path.is_file():
            raise NotFound(f"There is no file {path}.", hint="Give a CSV, JSONL or Parquet file, or a list of addresses.")
        if isinstance(people, str | Path) and (addresses := _list(path, encoding)) is not None:
            path, encoding, delimiter = _write_list(addresses, Path(scratch), path.stem), "utf-8", ","
        place = rejected or (None if path.is_relative_to(scratch) else path.with_name(path.name + ".rejected.jsonl"))
        mapping = _mapping(path, called, given, encoding, delimiter)
        options: dict[str, Any] = {
            "encoding": encoding, "delimiter": delimiter, "dry_run": dry_run, "progress": progress,
            "rejected": place or Path(scratch) / "rejected.jsonl", "tags": [f"campaign:{called}", *tags],
        }  # fmt: skip
        return _run(engine, called, path, mapping, options, enrich=enrich, told_path=place)


def _run(
    engine: Engine, name: str, path: Path, mapping: dict[str, Any], options: dict[str, Any], *, enrich: bool, told_path: Any
) -> CampaignReport:
    store, now = engine.store, engine.now()
    dry_run = bool(options["dry_run"])
    with engine.loop.exclusive():
        seq, key = store.last_seq(), store.next_profile_key()
        one = Campaign(
            id="c_" + digest("campaign", name, path.name, str(now), str(seq), size=10), name=name, file=path.name, at=now,
            first_seq=seq, first_key=key,
        )  # fmt: skip
        if not dry_run:
            _save(store, one)  # before anything is written, so that an import that was cut off can be taken back too
        report = engine.import_contacts(path, mapping, source=_source(one.id), **options)
        one.last_seq, one.last_key = store.last_seq(), store.next_profile_key() - 1
        one.rows, one.created = report.rows, report.created
        if not dry_run:
            _save(store, one)
    touched = [] if dry_run else sorted(_events_of(store, one))
    enriching, note = _enrich(engine, touched) if enrich and touched else (0, "")
    return CampaignReport(
        id=None if dry_run else one.id, name=name, tag=f"campaign:{name}", file=path.name, rows=report.rows,
        people=report.loaded if dry_run else len(touched), created=report.created, duplicates=report.duplicates,
        rejected=report.rejected, reasons=report.reasons, rejected_path=report.rejected_path if told_path else None,
        enriching=enriching, note=note, dry_run=dry_run, mapping=report.mapping,
    )  # fmt: skip


def _enrich(engine: Engine, keys: Sequence[int]) -> tuple[int, str]:
    """Give people to enrichment, if there is such a thing here; return how many, and what kept them from it.

    The import is done by then: that enrichment cannot begin does not undo it.
    """
    batch = getattr(getattr(engine, "enrichment", None), "enrich_batch", None)
    if batch is None:
        return 0, ""
    count = 0
    try:
        for part in _portions(keys):
            begun = batch([profile.id for profile in engine.store.profiles(part).values()])
            count += sum(item.status != "skipped" for item in begun)
    except TailorbirdError as error:
        return count, str(error)
    return count, ""


def _mapping(path: Path, name: str, fields: Mapping[str, str], encoding: str, delimiter: str | None) -> dict[str, Any]:
    """Return which column is what: the address alone says who it is, for a phone may be shared."""
    from tailorbird.runtime.imports.mapping import same_names

    columns = _columns(path, encoding, delimiter)
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(columns)}
    if twins := same_names(columns):
        raise InvalidInput(f"columns of {path.name} have the same name: {twins}.", hint="Rename or remove one of each.")
    address = next((plain[re.sub(r"[^a-z]", "", n)] for n in _MAILS if re.sub(r"[^a-z]", "", n) in plain), None)
    if address is None:
        raise InvalidInput(
            f"{path.name} has no column of e-mail addresses.", hint=f"Call one of its columns email: {', '.join(columns[:20])}."
        )
    tags = next((plain[n] for n in ("tags", "labels") if n in plain), None)
    attributes: dict[str, str] = {}
    for column in columns:
        if column in (address, tags):
            continue
        known = _HEADERS.get(re.sub(r"[^a-z0-9]", "", column.lower()))
        key = _snake(column) if known is None or known == "email" or known in attributes else known
        if key in attributes:
            raise InvalidInput(
                f"columns {attributes[key]!r:.60} and {column!r:.60} of {path.name} both mean {key}.",
                hint="Rename or remove one.",
            )
        attributes[key] = column
    attributes |= {key: f"={value}" for key, value in fields.items()}
    attributes["campaign"] = f"={name}"
    mapping: dict[str, Any] = {"email": address, "attributes": {k: v for k, v in attributes.items() if k not in ("", "email")}}
    if tags is not None:
        mapping["tags"] = tags
    return mapping


def _columns(path: Path, encoding: str, delimiter: str | None) -> list[str]:
    from tailorbird.runtime.imports.stage import Staged  # it loads DuckDB

    return Staged.header(path, encoding=encoding, delimiter=delimiter)


def _snake(column: str) -> str:
    return re.sub(r"\W+", "_", column.strip().lower()).strip("_")[:200]


def _list(path: Path, encoding: str) -> list[str] | None:
    """Return the addresses in a text file that is a list of them rather than a table: its first line is one."""
    if path.suffix.lower() not in (".csv", ".txt", ".tsv"):
        return None
    from tailorbird.runtime.imports.clean import read_encoding

    found = read_encoding(path, encoding)
    with path.open(encoding=found, errors="replace") as file:
        first = file.readline(10_000)
        if not _ADDRESS.search(first):
            return None
        return _addresses((first + file.read()).removeprefix("\ufeff"))


def _addresses(text: str) -> list[str]:
    """Return what stands between commas, semicolons and line ends; ``Ann Smith <ann@example.com>`` is one.

    >>> _addresses("Ann <ann@x.org>; ben@x.org\\n\\neve@x.org, nobody")
    ['Ann <ann@x.org>', 'ben@x.org', 'eve@x.org', 'nobody']
    """
    return [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]


def _write_list(people: Iterable[str], folder: Path, stem: str = "addresses") -> Path:
    path = folder / f"{stem}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["email", "name"])
        for one in people:
            found = _ADDRESS.search(one)
            name = re.sub(r"[<>\"]", "", one.replace(found[0], "")).strip() if found else ""
            out.writerow([found[0] if found else one.strip(), name])
    return path


# ---- remembering


def listing(store: Store) -> list[Campaign]:
    """Return the imports, the newest first."""
    text = store.get_meta(_META)
    return msgspec.json.decode(text, type=list[Campaign])[::-1] if text else []


def _save(store: Store, one: Campaign) -> None:
    known = [other for other in reversed(listing(store)) if other.id != one.id]
    store.set_meta(_META, msgspec.json.encode([*known, one]).decode())


def _source(import_id: str) -> str:
    return f"campaign:{import_id}"


def _events_of(store: Store, one: Campaign) -> dict[int, list[Event]]:
    """Return the events that an import wrote, by whose they are now."""
    found: dict[int, list[Event]] = {}
    after, last, source = one.first_seq, one.last_seq if one.last_seq is not None else store.last_seq(), _source(one.id)
    while after < last and (page := store.events(after=after, limit=_PAGE)):
        for event in page:
            if event.source == source and event.seq <= last:
                found.setdefault(event.profile, []).append(event)
        after = page[-1].seq
    return found


# ---- taking back


def undo(engine: Engine, import_id: str, *, also_enriched: bool = False, progress: Told | None = None) -> Undone:
    """Take an import back. Who was created by it and touched by nothing else since is erased; of the others, tags and
    attributes that it set and that still stand as it set them return to what they were. What is left is told with the reason.

    People who were enriched since are kept, for that was paid, unless ``also_enriched``.
    """
    store = engine.store
    one = next((campaign for campaign in listing(store) if campaign.id == import_id), None)
    if one is None:
        raise NotFound(f"No import has the id {import_id!r:.60}.", hint="List them with: tailorbird campaign list")
    if one.undone_at is not None:
        raise Conflict(f"The import {import_id} was taken back before.", hint="Nothing has to be done.")
    with engine.loop.exclusive():
        mine = _events_of(store, one)
        gone: list[int] = []
        kept: list[Kept] = []
        restored, done = 0, 0
        people_kept: set[int] = set()
        for keys in _portions(sorted(mine)):
            batch: list[Incoming] = []
            profiles, histories = store.profiles(keys), store.history(keys)
            for key, profile in profiles.items():
                why = _why_kept(one, profile, histories[key], also_enriched)
                if why is None:
                    gone.append(key)
                    continue
                if why:
                    kept.append(Kept(profile.id, "the person", why))
                    people_kept.add(key)
                events, stays = _back(one, profile, mine[key], histories[key])
                batch += events
                restored += bool(events)
                kept += stays
            accepted(engine.loop.take(batch, engine.now()))
            done += len(keys)
            if progress is not None:
                progress(done, len(mine))
        if gone:
            try:
                store.forget_all(gone)
            finally:
                engine.loop.refresh()
        one.undone_at = engine.now()
        _save(store, one)
    return Undone(
        id=one.id, name=one.name, removed=len(gone), restored=restored, kept_people=len(people_kept), kept=tuple(kept[:_TOLD])
    )


def _why_kept(one: Campaign, profile: Profile, history: Sequence[Event], also_enriched: bool) -> str | None:
    """Return None for who was brought by this import alone, "" for who was there before, else what happened to them since."""
    source, last = _source(one.id), one.last_key if one.last_key is not None else 2**62
    if not one.first_key <= profile.key <= last:
        return ""
    asked = [event for event in history if event.type.startswith(_ENRICHING)]
    providers = {event.source for event in asked} | {str(event.data.get("provider")) for event in asked}
    others = [
        e for e in history if e.source not in (source, _LIFECYCLE) and not e.type.startswith(_DERIVED) and not is_delivery(e)
    ]  # fmt: skip
    enriched = [e for e in others if e.type.startswith(_ENRICHING) or (e.type == PROFILE_UPDATED and e.source in providers)]
    rest = [e for e in others if e not in enriched]
    if rest:
        types = sorted({event.type for event in rest})
        return f"since then: {', '.join(types[:5])}{' …' if len(types) > 5 else ''}"
    return "enriched since then" if enriched and not also_enriched else None


def _back(one: Campaign, profile: Profile, mine: Sequence[Event], history: Sequence[Event]) -> tuple[list[Incoming], list[Kept]]:
    """Return the events that bring a person back to what they were, and what stays because others changed it since."""
    source = _source(one.id)
    before: dict[str, Json] = {}
    kept: list[Kept] = []
    for name in dict.fromkeys(n for e in mine if e.type == PROFILE_UPDATED for n in e.data.get("attributes", {})):
        stands = profile.provenance.get(name)
        if stands is not None and any(e.seq == stands.seq and e.at == stands.at for e in mine):
            before[name] = _earlier(name, history, source)
        elif name in profile.attributes:
            kept.append(Kept(profile.id, f"attribute {name}", f"changed since then by {stands.source if stands else 'others'}"))
    events = []
    if before:
        events.append(_event(one, profile, PROFILE_UPDATED, {"attributes": before}))
    for tag in dict.fromkeys(e.data.get("tag") for e in mine if e.type == TAG_ADDED):
        last = [e for e in history if e.type in (TAG_ADDED, TAG_REMOVED) and e.data.get("tag") == tag][-1]
        if last.source == source:
            events.append(_event(one, profile, TAG_REMOVED, {"tag": tag}))
        elif last.type == TAG_ADDED:
            kept.append(Kept(profile.id, f"tag {tag}", f"given again since then by {last.source}"))
    return events, kept


def _earlier(name: str, history: Sequence[Event], source: str) -> Json:
    for event in reversed(history):
        if event.type == PROFILE_UPDATED and event.source != source and name in event.data.get("attributes", {}):
            return event.data["attributes"][name]
    return None


def _event(one: Campaign, profile: Profile, type_: str, data: dict[str, Json]) -> Incoming:
    id_ = f"u-{digest(one.id, profile.id, type_, msgspec.json.encode(data, order='sorted').decode())}"
    return Incoming(type=type_, data=data, profile=profile.id, id=id_, source=f"undo:{one.id}")


def _portions(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), _TOGETHER):
        yield keys[start : start + _TOGETHER]
