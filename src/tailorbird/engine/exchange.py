"""Moving in and out with a JSON contact file: all of it is checked before anything is written, and a file is whole or not there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tailorbird.core.event import PROFILE_UPDATED, TAG_ADDED, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Identifier, Profile
from tailorbird.errors import InvalidInput, Mistake, NotFound, TooLarge
from tailorbird.ports import Criteria
from tailorbird.profiles.exchange import Entry, read_entries, write_entry
from tailorbird.profiles.lifecycle import STATUS, Lifecycle
from tailorbird.runtime.ingest import Incoming, check

if TYPE_CHECKING:
    from tailorbird.engine.parts import Parts

__all__ = ["Moved", "read_document", "read_file", "write_atomically", "write_file"]

_LARGEST: Final = 512 * 2**20
_CHUNK: Final = 1_000
Told = Callable[[int, int], None]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What was read or written: people, engagements; ``left_out`` are people without an e-mail address, who cannot be in a file."""

    contacts: int
    engagements: int = 0
    created: int = 0
    unchanged: int = 0
    left_out: int = 0
    path: str | None = None


def read_file(parts: Parts, path: str | Path, *, progress: Told | None = None, source: str = "exchange") -> Moved:
    """Take in a contact file; raise ``InvalidInput`` with what is wrong with it, and then nothing of it was taken in."""
    place = Path(path)
    if not place.is_file():
        raise NotFound(f"There is no file {place}.", hint="Give the path of a JSON file of contacts.")
    if place.stat().st_size > _LARGEST:
        raise TooLarge(f"{place.name} has more than {_LARGEST // 2**20} MB.", hint="Import it as JSONL instead.")
    return read_document(parts, decode(place.read_bytes(), place.name), progress=progress, source=source, path=str(place))


def decode(body: bytes, name: str) -> Json:
    """Return the JSON of a file; raise ``InvalidInput`` for what is none, or says something twice."""
    try:
        return json.loads(body.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8: {error.reason} at byte {error.start}.") from None
    except RecursionError:
        raise InvalidInput(f"{name} nests too deeply.", hint="Flatten it.") from None
    except ValueError as error:
        raise InvalidInput(f"{name} is not JSON: {error}.", hint="Nothing of it was taken in.") from None


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{double!r:.80} stands twice in one object")
    return found


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def read_document(
    parts: Parts, document: Json, *, progress: Told | None = None, source: str = "exchange", path: str | None = None
) -> Moved:
    """Take in the contents of a contact file; see ``read_file``."""
    entries, mistakes = read_entries(document)
    now = parts.now()
    batches = [] if mistakes else [_incoming(entry, source, now) for entry in entries]
    for entry, batch in zip(entries, batches, strict=False):
        for event in batch:
            mistakes += [Mistake(m.code, m.message, m.hint, where=f"{entry.email}.{m.where}") for m in check(event, now)]
            _check_depth(event, entry, mistakes)
    if mistakes:
        told = "; ".join(m.render() for m in mistakes[:5])
        more = f"; and {len(mistakes) - 5} more" if len(mistakes) > 5 else ""
        raise InvalidInput(
            f"The contact file cannot be taken in: {told}{more}",
            hint="Nothing of it was taken in.",
            mistakes=tuple(mistakes[:50]),
        )
    return _take(parts, batches, progress, path)


def _check_depth(event: Incoming, entry: Entry, mistakes: list[Mistake]) -> None:
    try:
        msgspec.json.encode(event.data)
    except (RecursionError, ValueError, TypeError):
        mistakes.append(Mistake("invalid_contact", "cannot be stored as JSON", where=entry.email))


def _take(parts: Parts, batches: Sequence[list[Incoming]], progress: Told | None, path: str | None) -> Moved:
    total, done, unchanged, engagements = len(batches), 0, 0, 0
    before = parts.store.next_profile_key()
    for start in range(0, total, _CHUNK):
        part = _news(parts, batches[start : start + _CHUNK])
        receipts = iter(parts.loop.take([event for batch in part for event in batch], parts.now()))
        for batch in part:
            answers = [next(receipts) for _ in batch]
            refused = [text for answer in answers for text in answer.mistakes]
            if refused:  # what could be known beforehand was checked; this is news, such as a merge in between
                raise InvalidInput(f"{batch[0].identifiers.get('email', '')}: {refused[0]}", hint="Take the file in again.")
            unchanged += all(answer.status == "duplicate" for answer in answers)
            engagements += sum(e.type not in (PROFILE_UPDATED, TAG_ADDED) for e in batch)
        done += len(part)
        if progress is not None:
            progress(done, total)
    created = parts.store.next_profile_key() - before
    return Moved(contacts=total, engagements=engagements, created=created, unchanged=unchanged, path=path)


def _news(parts: Parts, batches: Sequence[list[Incoming]]) -> list[list[Incoming]]:
    """Return the events without the attributes and tags that people have already; an event may be left without any."""
    store, lifecycle = parts.store, parts.loop.catalog.lifecycle
    rows = store.resolve([Identifier("email", batch[0].identifiers["email"]) for batch in batches])
    profiles = store.profiles(sorted({row.profile for row in rows.values()}))
    found = []
    for batch in batches:
        row = rows.get(Identifier("email", batch[0].identifiers["email"]))
        profile = None if row is None else profiles.get(row.profile)
        found.append(
            batch if profile is None else [e for e in (_new(event, profile, lifecycle) for event in batch) if e is not None]
        )
    return found


def _new(event: Incoming, profile: Profile, lifecycle: Lifecycle | None) -> Incoming | None:
    if event.type == TAG_ADDED:
        return None if event.data["tag"] in profile.tags else event
    if event.type != PROFILE_UPDATED:
        return event
    known = profile.attributes
    differs = {k: v for k, v in event.data["attributes"].items() if k not in known or _canonical(known[k]) != _canonical(v)}
    if STATUS in differs and lifecycle is not None and "ignored" in lifecycle.given(profile, {"attributes": differs}):
        del differs[STATUS]  # it would lead back, and so change nothing, each time the file is taken in
    return msgspec.structs.replace(event, data={"attributes": differs}) if differs else None


def _incoming(entry: Entry, source: str, now: int) -> list[Incoming]:
    """Return a person's events: what happened first, then what is known, so that the file has the last word.

    The ids of engagements follow from what they say, so that the same file taken in twice is taken in once.
    """
    whose = {"email": entry.email}
    found: list[Incoming] = []
    copies: dict[str, int] = {}
    for type_, at, data in entry.engagements:
        told = digest("exchange", entry.email, type_, str(at), _canonical(data))
        copies[told] = copies.get(told, 0) + 1
        id_ = f"x-{told}" + (f".{copies[told]}" if copies[told] > 1 else "")
        found.append(
            Incoming(type=type_, identifiers=whose, data=data, at=min(at, now) if at <= now else at, id=id_, source=source)
        )
    found.append(Incoming(type=PROFILE_UPDATED, identifiers=whose, data={"attributes": entry.attributes}, source=source))
    found += [Incoming(type=TAG_ADDED, identifiers=whose, data={"tag": tag}, source=source) for tag in entry.tags]
    return found


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


# ---- writing


def write_file(
    parts: Parts, path: str | Path, keys: Callable[[Criteria], list[int]], criteria: Criteria, *, progress: Told | None = None
) -> Moved:
    """Write everybody whom the criteria hold for into a contact file, which appears when it is whole and on the disk."""
    people = keys(criteria)
    counts = {"contacts": 0, "engagements": 0, "left_out": 0}

    def pieces() -> Iterator[str]:
        yield "{"
        first = True
        for start in range(0, len(people), _CHUNK):
            for email, entry in entries(parts, people[start : start + _CHUNK], counts):
                yield ("\n" if first else ",\n") + f" {json.dumps(email, ensure_ascii=False)}: "
                yield json.dumps(entry, ensure_ascii=False, indent=1).replace("\n", "\n ")
                first = False
            if progress is not None:
                progress(min(start + _CHUNK, len(people)), len(people))
        yield "\n}\n" if not first else "}\n"

    write_atomically(Path(path), pieces())
    return Moved(**counts, path=str(path))


def entries(parts: Parts, keys: Sequence[int], counts: dict[str, int]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield (address, entry) of these people, and count them."""
    store = parts.store
    profiles, histories = store.profiles(keys), store.history(keys)
    for key in keys:
        emails = [row.value for row in store.identifiers(key) if row.kind == "email"]
        if key not in profiles or not emails:
            counts["left_out"] += 1
            continue
        entry = write_entry(profiles[key], emails, histories.get(key, ()))
        counts["contacts"] += 1
        counts["engagements"] += len(entry["engagements"])
        yield emails[0], entry


def write_atomically(path: Path, pieces: Iterator[str]) -> None:
    """Write a file beside its place, force it to the disk, and only then give it its name; what was there stays until then."""
    if not path.parent.is_dir():
        raise NotFound(f"The folder {path.parent} does not exist.", hint="Make it first.")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.writelines(pieces)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    with suppress(OSError):  # some systems cannot force a folder to the disk
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
