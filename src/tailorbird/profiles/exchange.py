"""The JSON contact file keyed by e-mail: entries read into what a profile and its events hold, and written out of them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tailorbird.core.event import Event, Json
from tailorbird.core.profile import Profile
from tailorbird.errors import InvalidEvent, Mistake
from tailorbird.expr.read import parse_time
from tailorbird.profiles.engagements import ENGAGEMENTS, is_delivery
from tailorbird.profiles.fold import FACTS
from tailorbird.profiles.normalise import is_placeholder, normalise

__all__ = ["KEPT", "Entry", "read_entries", "write_entry"]

KEPT: Final = "contact_file"
"""The attribute that holds what the file says and nothing else has a place for."""

_NAMES: Final = {value: key for key, value in ENGAGEMENTS.items()}
_OURS: Final = (
    "profile.", "tag.", "consent.", "member.", "segment.", "definition.", "timer.", "cascade.", "stage.", "enrichment.",
    "email.verified", "email.rejected", "note.", "task.", "deal.", "action.",
)  # fmt: skip
_PLAIN: Final = ("first_name", "last_name", "company", "title")
_ENRICHED: Final = (
    "linkedin_url", "phone", "industry", "seniority_level", "company_size", "email_verified", "enriched_at", "enrichment_source",
)  # fmt: skip
_ENRICHMENT: Final = (
    "company_name", "job_title", "linkedin_url", "phone", "industry", "seniority_level", "company_size", "email_verified",
    "verification_timestamp", "enriched_at", "enrichment_source",
)  # fmt: skip
_FIELDS: Final = (
    "email", "domain", "status", *_PLAIN, "enrichment", "engagements", "created_at", "updated_at", "imported_from_campaign", "tags",
    "custom_fields",
)  # fmt: skip
_PLACED: Final = frozenset({*_PLAIN, *_ENRICHED, "status", "domain", "campaign", "email", KEPT})
_MOST: Final = 50


class Entry(NamedTuple):
    """What the file says of one person: attributes, tags in order, engagements as (event type, at, data)."""

    email: str
    attributes: dict[str, Json]
    tags: tuple[str, ...]
    engagements: tuple[tuple[str, int, dict[str, Json]], ...]


# ---- reading


def read_entries(document: Json) -> tuple[list[Entry], list[Mistake]]:
    """Return the entries of a contact file, and everything that is wrong with it (up to 50 mistakes); with any, use nothing."""
    if not isinstance(document, dict):
        return [], [Mistake("invalid_file", "the file is not an object keyed by e-mail", 'write {"ann@example.com": {…}}')]
    reader = _Reader()
    entries = []
    seen: dict[str, str] = {}
    for key, value in document.items():
        entry = reader.entry(key, value)
        if entry is not None and entry.email in seen:
            reader.wrong(key, f"is the same address as {seen[entry.email]}", "join the two entries")
        elif entry is not None:
            seen[entry.email] = key
            entries.append(entry)
        if len(reader.mistakes) >= _MOST:
            break
    return entries, reader.mistakes


class _Reader:
    """One reading of a file: collects mistakes."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def wrong(self, where: str, message: str, hint: str = "") -> None:
        self.mistakes.append(Mistake("invalid_contact", message, hint, where=where[:200]))

    def entry(self, key: str, value: Json) -> Entry | None:
        before = len(self.mistakes)
        if not isinstance(value, dict):
            self.wrong(key, f"is {_kind(value)} where an object is needed")
            return None
        email = self.address(key, value)
        attributes: dict[str, Json] = {}
        kept: dict[str, Json] = {}
        for name in _PLAIN:
            self.put(attributes, key, name, self.text(key, name, value.get(name)))
        status = self.text(key, "status", value.get("status"))
        self.put(attributes, key, "status", None if status is None else status.strip().lower())
        self.put(attributes, key, "campaign", self.text(key, "imported_from_campaign", value.get("imported_from_campaign")))
        domain = self.text(key, "domain", value.get("domain"))
        if domain is not None and domain != email.rpartition("@")[2]:
            attributes["domain"] = domain
        self.enrichment(key, value.get("enrichment"), attributes, kept)
        self.custom(key, value.get("custom_fields"), attributes, kept)
        for name in ("created_at", "updated_at"):
            if self.time(f"{key}.{name}", value.get(name), missing=True) is not None:
                kept[name] = value[name]
        unknown = {name: field for name, field in value.items() if name not in _FIELDS}
        if unknown:
            kept["fields"] = unknown
        if kept:
            attributes[KEPT] = kept
        tags, engagements = self.tags(key, value.get("tags")), self.engagements(key, value.get("engagements"))
        return None if len(self.mistakes) > before else Entry(email, attributes, tags, engagements)

    def address(self, key: str, value: Mapping[str, Json]) -> str:
        said = value.get("email", key)
        try:
            email = normalise("email", key).value
            if is_placeholder("email", email):
                self.wrong(key, "is an address that programs send for nobody")
            if not isinstance(said, str) or normalise("email", said).value != email:
                self.wrong(key, f"has the email {said!r:.80}", "the key and the email must be one address")
        except InvalidEvent as error:
            self.wrong(key or "(empty)", error.message, "the keys of the file are e-mail addresses")
            return ""
        return email

    def text(self, key: str, name: str, value: Json) -> str | None:
        if value is None or isinstance(value, str):
            return value
        self.wrong(f"{key}.{name}", f"is {_kind(value)} where text is needed")
        return None

    def put(self, attributes: dict[str, Json], key: str, name: str, value: str | None) -> None:
        if value is not None:
            attributes[name] = value

    def enrichment(self, key: str, value: Json, attributes: dict[str, Json], kept: dict[str, Json]) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            self.wrong(f"{key}.enrichment", f"is {_kind(value)} where an object is needed")
            return
        if not isinstance(value.get("email_verified", False), bool | None):
            self.wrong(f"{key}.enrichment.email_verified", f"is {_kind(value['email_verified'])}", "write true, false or null")
        for name in ("verification_timestamp", "enriched_at"):
            self.time(f"{key}.enrichment.{name}", value.get(name), missing=True)
        attributes |= {name: value[name] for name in _ENRICHED if value.get(name) is not None}
        more = {
            name: field
            for name, field in value.items()
            if name not in _ENRICHED and (field is not None or name not in _ENRICHMENT)
        }
        kept["enrichment"] = more  # also when empty: what the file leaves open is not filled in on the way out

    def custom(self, key: str, value: Json, attributes: dict[str, Json], kept: dict[str, Json]) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            self.wrong(f"{key}.custom_fields", f"is {_kind(value)} where an object is needed")
            return
        own = {name: field for name, field in value.items() if name not in _PLACED and field is not None and name.strip()}
        attributes |= own
        if len(own) < len(value):
            kept["custom_fields"] = {name: field for name, field in value.items() if name not in own}

    def tags(self, key: str, value: Json) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(tag, str) and tag.strip() for tag in value):
            self.wrong(f"{key}.tags", "is not a list of texts")
            return ()
        return tuple(dict.fromkeys(value))

    def engagements(self, key: str, value: Json) -> tuple[tuple[str, int, dict[str, Json]], ...]:
        if value is None:
            return ()
        if not isinstance(value, list):
            self.wrong(f"{key}.engagements", f"is {_kind(value)} where a list is needed")
            return ()
        found = []
        for place, item in enumerate(value):
            where = f"{key}.engagements[{place}]"
            if not isinstance(item, dict) or not isinstance(item.get("engagement_type"), str):
                self.wrong(where, "has no engagement_type", 'write {"engagement_type": "email_opened", "timestamp": "…"}')
                continue
            at = self.time(f"{where}.timestamp", item.get("timestamp"))
            data = item.get("metadata")
            if data is not None and not isinstance(data, dict):
                self.wrong(f"{where}.metadata", f"is {_kind(data)} where an object is needed")
            type_ = ENGAGEMENTS.get(item["engagement_type"], item["engagement_type"])
            if type_.startswith(_OURS):
                self.wrong(f"{where}.engagement_type", f"{type_!r:.60} is not an engagement: such events are Tailorbird's own")
            if unknown := sorted(set(item) - {"engagement_type", "timestamp", "metadata"}):
                self.wrong(where, f"has {unknown[0]!r:.60}, which has no place", "put it into metadata")
            found.append((type_, at or 0, dict(data) if isinstance(data, dict) else {}))
        return tuple(found)

    def time(self, where: str, value: Json, *, missing: bool = False) -> int | None:
        if value is None and missing:
            return None
        found = parse_time(value.strip()) if isinstance(value, str) else None
        if found is None:
            self.wrong(where, f"{value!r:.60} is not a time", "write it as 2026-01-31T12:00:00Z")
        return found


# ---- writing


def write_entry(profile: Profile, emails: Sequence[str], events: Iterable[Event]) -> dict[str, Json]:
    """Return a person's entry; ``emails`` are their addresses, the first seen first, ``events`` their history in order."""
    attributes = profile.attributes
    kept = attributes.get(KEPT)
    kept = kept if isinstance(kept, dict) else {}
    created, updated = _times(profile, kept)
    custom = {name: value for name, value in attributes.items() if name not in _PLACED}
    if len(emails) > 1:
        custom.setdefault("other_emails", list(emails[1:]))
    return {
        "email": emails[0],
        "domain": attributes.get("domain", emails[0].rpartition("@")[2]),
        "status": attributes.get("status", "new"),
        **{name: attributes.get(name) for name in _PLAIN},
        "enrichment": _enrichment(profile, kept.get("enrichment")),
        "engagements": [
            {"engagement_type": _NAMES.get(e.type, e.type), "timestamp": _iso(e.at), "metadata": e.data}
            for e in events
            if not e.type.startswith(_OURS) and not is_delivery(e)
        ],
        "created_at": created,
        "updated_at": updated,
        "imported_from_campaign": attributes.get("campaign"),
        "tags": list(profile.tags),
        "custom_fields": dict(sorted({**custom, **_object(kept.get("custom_fields"))}.items())),
        **_object(kept.get("fields")),
    }


def _times(profile: Profile, kept: Mapping[str, Json]) -> tuple[str, str]:
    """Return since when a person is known and when they changed: as the file said, for as long as nothing came after it."""
    newest = max((one.at for one in profile.provenance.values()), default=profile.created_at)
    read = profile.provenance.get(KEPT)
    later = any(one.at > read.at for name, one in profile.provenance.items() if name != FACTS) if read else True
    facts = profile.provenance.get(FACTS)
    later = later or (read is not None and facts is not None and facts.at > read.at)
    created = str(kept.get("created_at") or _iso(profile.created_at))
    return created, str(kept["updated_at"]) if kept.get("updated_at") and not later else _iso(max(newest, profile.created_at))


def _enrichment(profile: Profile, more: Json) -> dict[str, Json] | None:
    attributes = profile.attributes
    if more is None and all(attributes.get(name) is None for name in _ENRICHED):
        return None
    said = {**attributes, **_object(more)}
    if more is None and attributes.get("enriched_at") is not None:
        said |= {"company_name": attributes.get("company"), "job_title": attributes.get("title")}
    judged = profile.provenance.get("email_verified")
    if attributes.get("email_verified") is True and judged is not None and (more is None or _since_file(profile, judged.at)):
        return {name: said.get(name) for name in _ENRICHMENT} | _object(more) | {"verification_timestamp": _iso(judged.at)}
    return {name: said.get(name) for name in _ENRICHMENT} | _object(more)


def _since_file(profile: Profile, at: int) -> bool:
    """Return whether an instant is after the contact file was taken in, whose own word on it then is of the past."""
    read = profile.provenance.get(KEPT)
    return read is not None and at > read.at


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kind(value: Json) -> str:
    return "nothing" if value is None else type(value).__name__
