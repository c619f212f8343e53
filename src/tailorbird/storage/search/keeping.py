"""Keeping the read model of people equal to the record: what changed since is read again when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from tailorbird.core.event import (
    CONSENT_GRANTED,
    CONSENT_WITHDRAWN,
    MERGED,
    PROFILE_UPDATED,
    TAG_ADDED,
    TAG_REMOVED,
    UNMERGED,
)
from tailorbird.storage.search.person import read_card, texts
from tailorbird.storage.search.side import FORM, Side

__all__ = ["Keeping", "Told"]

Told = Callable[[int, int], None]
"""Told how many are done and how many there are."""

_FACTS: Final = (PROFILE_UPDATED, TAG_ADDED, TAG_REMOVED, CONSENT_GRANTED, CONSENT_WITHDRAWN)
_JOINS: Final = (MERGED, UNMERGED)
_TOGETHER: Final = 4_000  # people in one transaction
_LARGE: Final = 20_000  # people from which on the first reading goes without indexes
_SKEW: Final = 60_000  # ms that clocks of processes on one database may differ by
_SMALL: Final = 100_000  # people up to which the text index is packed anew after an erasure
_SQLITE_ROW: Final = "INSERT OR REPLACE INTO directory_person VALUES (?, ?, ?, ?, ?, ?, ?)"
_POSTGRES_ROW: Final = (
    "INSERT INTO directory_person VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (profile) DO UPDATE SET status = excluded.status, "
    "name = excluded.name, updated_at = excluded.updated_at, flags = excluded.flags, company = excluded.company, phone = excluded.phone"
)


class _Place(msgspec.Struct):
    """Up to where the record was read: the last event with its id and when it came, and the last profile."""

    form: str = FORM
    seq: int = 0
    id: str = ""
    at: int = 0
    key: int = 0


class Keeping:
    """Brings the tables of a side up to date. Not for two threads at once: ``side.lock`` is there to take."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.indexed = False
        self._seen: Any = None
        self._ready = False
        self._cast = "::text" if side.postgres else ""
        self._kind = "kind" if side.postgres else "+kind"  # SQLite would read all addresses there are to find those of a few

    # ---- people
    def follow(self, progress: Told | None = None) -> None:
        """Make rows and labels equal to the record as it is now."""
        side = self.side
        if not self._ready:
            self.indexed = side.prepare()
            self._ready = True
        version = side.version()
        if version is not None and version == self._seen:
            return
        last, top = self._record_state()
        place = self._read_place()
        if place is not None and (place.seq == last and place.key == top and not self._amiss(place, last)):
            self._seen = version
            return
        self._catch_up(place, last, top, progress)
        self._seen = version

    def _catch_up(self, place: _Place | None, last: int, top: int, progress: Told | None) -> None:
        side = self.side
        with side.writing():
            place = self._read_place()  # another process may have been at it
            if place is not None and self._amiss(place, last):
                side.wipe()
                place = None
            if place is None:
                place = self._reached(_Place(), last)
                self._write_place(place)
            elif place.seq < last:
                self._reread(sorted(self._touched(place, last)))
                place = self._reached(place, last)
                self._write_place(place)
            if place.key == 0 and top > _LARGE:
                self._build(place, top, progress)
        started, tell = place.key, progress or (lambda done, total: None)
        while place.key < top:
            with side.writing():
                place = self._read_place() or place
                end = min(place.key + _TOGETHER, top)
                if place.key < end:
                    self._read(f"key > {side.mark} AND key <= {side.mark}", "profile > {0} AND profile <= {0}", (place.key, end))
                    side.ask(
                        "INSERT INTO directory_stale SELECT profile FROM directory_person "
                        f"WHERE profile > {side.mark} AND profile <= {side.mark} ON CONFLICT DO NOTHING",
                        (place.key, end),
                    )
                    place.key = end
                    self._write_place(place)
            tell(place.key - started, top - started)

    def _build(self, place: _Place, top: int, progress: Told | None) -> None:
        """Read everybody for the first time: without indexes, which are made from sorted rows at the end."""
        side, tell = self.side, progress or (lambda done, total: None)
        side.unindex()
        side.ask("CREATE TEMP TABLE loose_label (label text, profile bigint)")
        for start in range(0, top, _TOGETHER):
            end = min(start + _TOGETHER, top)
            which, whose = f"key > {side.mark} AND key <= {side.mark}", "profile > {0} AND profile <= {0}"
            self._read(which, whose, (start, end), labels_into="loose_label")
            tell(end, top)
        side.ask(
            "INSERT INTO directory_label SELECT label, profile FROM loose_label ORDER BY label, profile ON CONFLICT DO NOTHING"
        )
        side.ask("DROP TABLE loose_label")
        side.index()
        side.ask(
            "INSERT INTO directory_stale SELECT profile FROM directory_person WHERE true ORDER BY profile ON CONFLICT DO NOTHING"
        )
        place.key = top
        self._write_place(place)

    def _record_state(self) -> tuple[int, int]:
        record = self.side.record
        row = self.side.ask(f"SELECT (SELECT max(seq) FROM {record}event), (SELECT max(key) FROM {record}profile)")[0]
        return row[0] or 0, row[1] or 0

    def _amiss(self, place: _Place, last: int) -> bool:
        """Return whether the tables are of another form, of another database, or of one that was set back."""
        side = self.side
        if place.form != FORM:
            return True
        if place.seq > last:
            highest = side.ask(f"SELECT value FROM {side.record}meta WHERE key = 'highest event'")
            return not highest or int(highest[0][0]) < place.seq
        there = side.ask(f"SELECT id FROM {side.record}event WHERE seq = {side.mark}", (place.seq,))
        return bool(there) and there[0][0] != place.id  # none there: it was erased

    def _reached(self, place: _Place, last: int) -> _Place:
        side = self.side
        row = side.ask(f"SELECT id, received_at FROM {side.record}event WHERE seq = {side.mark}", (last,))
        id_, at = row[0] if row else ("", place.at)
        return msgspec.structs.replace(place, seq=last, id=id_, at=at)

    def _touched(self, place: _Place, last: int) -> set[int]:
        """Return the known people whose facts, identifiers or merges changed since."""
        side, mark, record = self.side, self.side.mark, self.side.record
        span = (place.seq, last)
        since = f"seq > {mark} AND seq <= {mark}"
        facts, joins = (", ".join(f"'{name}'" for name in names) for names in (_FACTS, _JOINS))
        found = {
            row[0] for row in side.ask(f"SELECT DISTINCT profile FROM {record}event WHERE {since} AND type IN ({facts})", span)
        }
        found |= {
            row[0]
            for row in side.ask(
                f"SELECT DISTINCT e.profile FROM {record}event e JOIN {record}identifier i ON i.profile = e.profile "
                f"WHERE e.{since.replace(' AND seq', ' AND e.seq')} AND e.type NOT IN ({facts}, {joins}) AND i.at >= {mark}",
                (*span, place.at - _SKEW),
            )
        }
        told = side.ask(
            f"SELECT profile, data ->> 'winner', data ->> 'loser' FROM {record}event WHERE {since} AND type IN ({joins})", span
        )
        if told:
            ids = [name for row in told for name in row[1:] if name]
            marks = ", ".join(mark for _ in ids)
            joined = {row[0] for row in told}
            joined |= (
                {row[0] for row in side.ask(f"SELECT key FROM {record}profile WHERE id IN ({marks})", ids)} if ids else set()
            )
            self._count_again(sorted(joined))
            found |= joined
        return {key for key in found if key <= place.key}

    def _reread(self, keys: Sequence[int]) -> None:
        """Read these people again; those who are no longer, or are part of others, go."""
        side = self.side
        for start in range(0, len(keys), _TOGETHER):
            part = side.listed(keys[start : start + _TOGETHER])
            for table in ("directory_person", "directory_label"):
                side.ask(f"DELETE FROM {table} WHERE {side.among('profile')}", (part,))
            self._read(side.among("key"), side.among("profile"), (part,))
            side.put(
                f"INSERT INTO directory_stale VALUES ({side.mark}) ON CONFLICT DO NOTHING",
                [(key,) for key in keys[start : start + _TOGETHER]],
            )

    def _read(self, which: str, whose: str, binds: Sequence[Any], *, labels_into: str = "directory_label") -> None:
        side, cast = self.side, self._cast
        mails: dict[int, list[str]] = {}
        phones: dict[int, list[str]] = {}
        identifiers = side.ask(
            f"SELECT profile, kind, value FROM {side.record}identifier "
            f"WHERE {whose.format(side.mark)} AND {self._kind} IN ('email', 'phone')",
            binds,
        )
        for key, kind, value in identifiers:
            (mails if kind == "email" else phones).setdefault(key, []).append(value)
        people = side.ask(
            f"SELECT key, created_at, attributes{cast}, provenance{cast}, tags{cast} FROM {side.record}profile "
            f"WHERE {which} AND kind = 'person' AND merged_into IS NULL ORDER BY key",
            binds,
        )
        rows: list[tuple[Any, ...]] = []
        labels: list[tuple[str, int]] = []
        for key, created_at, attributes, provenance, tags in people:
            card = read_card(created_at, attributes, provenance, tags, mails.get(key, ()), phones.get(key, ()))
            rows.append((key, *card[:-1]))
            labels += [(label, key) for label in card.labels]
        if labels_into == "directory_label":
            labels.sort()  # into the index in long runs
        side.put(_POSTGRES_ROW if side.postgres else _SQLITE_ROW, rows)
        side.put(f"INSERT INTO {labels_into} VALUES ({side.mark}, {side.mark}) ON CONFLICT DO NOTHING", labels)

    # ---- texts, kept only once somebody searches them
    def follow_texts(self, progress: Told | None = None) -> None:
        """Make the texts equal to the record; ``follow`` must have been called."""
        side, done, tell = self.side, 0, progress or (lambda done, total: None)
        waiting = int(side.ask("SELECT count(*) FROM directory_stale")[0][0])
        while done < waiting:
            with side.writing():
                keys = [row[0] for row in side.ask(f"SELECT profile FROM directory_stale ORDER BY profile LIMIT {_TOGETHER}")]
                if not keys:
                    return
                listed = side.listed(keys)
                self._drop_texts(listed)
                self._read_texts(listed)
                side.ask(f"DELETE FROM directory_stale WHERE {side.among('profile')}", (listed,))
            done += len(keys)
            tell(done, waiting)

    def _drop_texts(self, listed: Any) -> None:
        column = "profile" if self.side.postgres else "rowid"
        self.side.ask(f"DELETE FROM directory_text WHERE {self.side.among(column)}", (listed,))

    def _read_texts(self, listed: Any) -> None:
        side, cast = self.side, self._cast
        names: dict[int, list[str]] = {}
        whose = f"SELECT profile, value FROM {side.record}identifier WHERE {side.among('profile')} ORDER BY kind, value"
        for key, value in side.ask(whose, (listed,)):
            names.setdefault(key, []).append(value)
        people = side.ask(
            f"SELECT key, attributes{cast}, tags{cast} FROM {side.record}profile "
            f"WHERE {side.among('key')} AND kind = 'person' AND merged_into IS NULL",
            (listed,),
        )
        decode = msgspec.json.decode
        rows = [(key, *texts(decode(attributes), decode(tags), names.get(key, ()))) for key, attributes, tags in people]
        columns = "profile, name, rest" if side.postgres else "rowid, name, rest"
        side.put(f"INSERT INTO directory_text ({columns}) VALUES ({side.mark}, {side.mark}, {side.mark})", rows)

    # ---- engagements, counted only once somebody asks
    def follow_engagements(self, types: Sequence[str]) -> None:
        """Count what came since it was last counted; all of it when other types count now."""
        side, mark = self.side, self.side.mark
        chosen = ",".join(sorted(types))
        with side.writing():
            counted = self._counted()
            if counted.get("types") != chosen:
                side.ask("DELETE FROM directory_engaged")
                counted = {"types": chosen, "seq": 0}
            place = self._read_place() or _Place()
            marks = ", ".join(mark for _ in types)
            if types and counted["seq"] < place.seq:
                side.ask(
                    f"INSERT INTO directory_engaged SELECT profile, count(*) FROM {side.record}event "
                    f"WHERE seq > {mark} AND seq <= {mark} AND type IN ({marks}) GROUP BY profile "
                    "ON CONFLICT (profile) DO UPDATE SET engagements = directory_engaged.engagements + excluded.engagements",
                    (counted["seq"], place.seq, *types),
                )
            self._put_place("engaged", {"types": chosen, "seq": place.seq})

    def _count_again(self, keys: Sequence[int]) -> None:
        """Count the engagements of people whose events changed owner, up to where others were counted."""
        side, mark, counted = self.side, self.side.mark, self._counted()
        types = [name for name in str(counted.get("types", "")).split(",") if name]
        side.ask(f"DELETE FROM directory_engaged WHERE {side.among('profile')}", (side.listed(keys),))
        if types:
            side.ask(
                f"INSERT INTO directory_engaged SELECT profile, count(*) FROM {side.record}event "
                f"WHERE {side.among('profile')} AND seq <= {mark} AND type IN ({', '.join(mark for _ in types)}) GROUP BY profile",
                (side.listed(keys), counted["seq"], *types),
            )

    def _counted(self) -> dict[str, Any]:
        row = self.side.ask("SELECT value FROM directory_place WHERE name = 'engaged'")
        found: dict[str, Any] = msgspec.json.decode(row[0][0]) if row else {}
        return found

    # ---- erasing
    def erased(self, keys: Iterable[int]) -> None:
        """Leave no trace of those of these people that the record has no more, and read the others again."""
        side = self.side
        if not self._ready:
            self.indexed = side.prepare()
            self._ready = True
        with side.writing():
            told = sorted(set(keys))
            known = {
                row[0]
                for row in side.ask(f"SELECT key FROM {side.record}profile WHERE {side.among('key')}", (side.listed(told),))
            }
            gone = side.listed([key for key in told if key not in known])
            self._drop_texts(gone)
            for table in ("directory_person", "directory_label", "directory_stale", "directory_engaged"):
                side.ask(f"DELETE FROM {table} WHERE {side.among('profile')}", (gone,))
            place = self._read_place()
            self._reread([key for key in told if place is not None and key in known and key <= place.key])
        self._pack()
        side.shred()
        self._seen = None

    def _pack(self) -> None:
        """Take what was deleted out of the text index itself, where a note of it would stay until pieces are joined."""
        side = self.side
        if side.postgres:
            return
        many = side.ask(f"SELECT count(*) FROM (SELECT 1 FROM directory_person LIMIT {_SMALL + 1})")[0][0] > _SMALL
        command = "('merge', 500)" if many else "('optimize', 0)"
        side.ask(f"INSERT INTO directory_text (directory_text, rank) VALUES {command}")

    # ---- the place
    def _read_place(self) -> _Place | None:
        row = self.side.ask("SELECT value FROM directory_place WHERE name = 'people'")
        return msgspec.json.decode(row[0][0], type=_Place) if row else None

    def _write_place(self, place: _Place) -> None:
        self._put_place("people", place)

    def _put_place(self, name: str, value: Any) -> None:
        mark = self.side.mark
        self.side.ask(
            f"INSERT INTO directory_place VALUES ({mark}, {mark}) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, msgspec.json.encode(value).decode()),
        )
