"""Importing contacts: each row is what one profile should say; only what differs becomes events."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED, TAG_ADDED, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile
from tailorbird.ports import Store
from tailorbird.profiles.lifecycle import STATUS, Lifecycle
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule
from tailorbird.runtime.imports.mapping import read_mapping
from tailorbird.runtime.imports.people import JOINS, Transaction
from tailorbird.runtime.imports.report import Report
from tailorbird.runtime.imports.rows import Batch, Progress, Rows, ahead, batches, refold_all
from tailorbird.runtime.imports.settling import UNSETTLED, unsettled
from tailorbird.runtime.imports.stage import Binds, Staged
from tailorbird.runtime.imports.turns import Turns
from tailorbird.runtime.ingest import Incoming

__all__ = ["import_contacts"]

_CHUNK: Final = 20_000
_YES: Final = ("true", "yes", "y", "1", "t", "on", "opt-in", "opt in", "opted in", "subscribed", "granted")
_NO: Final = ("false", "no", "n", "0", "f", "off", "opt-out", "opt out", "opted out", "unsubscribed", "withdrawn")
_ABSENT: Final = object()


def import_contacts(
    store: Store,
    path: str | Path,
    mapping: Mapping[str, Any] | None = None,
    *,
    now: int,
    dry_run: bool = False,
    progress: Progress | None = None,
    rejected: str | Path | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    source: str = "import",
    region: str | None = None,
    rule: MergeRule = DEFAULT_RULE,
    lifecycle: Lifecycle | None = None,
    chunk: int = _CHUNK,
    turns: Turns | None = None,
    tags: Sequence[str] = (),
) -> Report:
    """Import a CSV, JSONL or Parquet file of contacts; see ``docs/how-to/import.md`` for the mapping.

    ``tags`` are given to everybody in the file, besides those that a column holds.

    A row becomes ``profile.updated`` with the attributes that differ from what is stored, ``tag.added`` for tags the
    profile has not, and consent events where a consent is new or withdrawn; an empty cell says nothing. Facts hold from
    the row's own time if one is mapped, else from now. The same file again changes nothing. ``loaded`` counts rows that
    changed something, ``duplicates`` those that did not. Rows that join people are given to the loop after all others.
    """
    path = Path(path)
    with Staged.read(path, encoding=encoding, delimiter=delimiter) as staged:
        columns = read_mapping(mapping, staged.names, contacts=True, stem=path.stem, nested=staged.format == "jsonl")
        job = _Contacts(store, staged, columns, now=now, source=source, region=region, rule=rule, progress=progress, turns=turns)
        job.given = tuple(tags)
        if dry_run:
            return job.try_out()
        job.lifecycle = lifecycle
        return job.run(Path(rejected) if rejected else path.with_name(path.name + ".rejected.jsonl"), chunk)


class _Contacts(Rows):
    """One import of contacts. A status never leads back in the ``lifecycle``."""

    lifecycle: Lifecycle | None = None

    given: tuple[str, ...] = ()

    def more(self) -> dict[str, Callable[[Binds], str]]:
        """Return the columns that only contacts have: the tags as said, and one column a consent."""
        tags = self.columns.tags
        consents = list(self.columns.consent.values())
        found: dict[str, Callable[[Binds], str]] = {
            "tags": (lambda binds: self.staged.text(tags, binds)) if tags else (lambda binds: "NULL::VARCHAR")
        }
        for place, column in enumerate(consents):
            found[f"consent{place}"] = lambda binds, column=column: f"lower(trim({self.staged.text(column, binds)}))"  # type: ignore[misc]
        return found

    def checks(self, binds: Binds) -> str:
        """Return the further reasons for rejecting a row, as branches of a CASE."""
        return "".join(
            f" WHEN consent{i} NOT IN {(*_YES, *_NO)} "
            f"THEN concat({binds(f'the consent in {column} is neither yes nor no')}, ': ''', left(consent{i}, 60), '''')"
            for i, column in enumerate(self.columns.consent.values())
        )

    def run(self, rejected: Path, chunk: int) -> Report:
        """Write what differs from what is stored."""
        self.sort_out(self.bulk, rejected)
        consents = "".join(f", r.consent{i}" for i in range(len(self.columns.consent)))
        said = f"least(r.moment, ?), r.data, r.tags{consents} FROM rows r JOIN whos w USING (who) JOIN people p USING (n)"
        rows = self.con.cursor().execute(
            f"""SELECT r.line, w.place, p.key, p.origin, {said} WHERE r.reason IS NULL AND p.reason IS NULL
            ORDER BY w.place, r.moment, r.line""",
            [self.now],
        )
        position, total = 0, self.report.rows - self.report.rejected
        for batch in ahead(batches(rows, chunk)):
            with self.writing() as tx:
                self._write(tx, batch)
            position += len(batch)
            self.progress(position, total)
        joining = self.con.execute(
            f"""SELECT r.line, w.place, w.who, {said} WHERE r.reason IS NULL AND p.reason = ? ORDER BY r.line""",
            [self.now, JOINS],
        ).fetchall()
        if joining and self.turns.take is not None:
            self._take_joining(joining, rejected)
        self.report.touched = self.report.touched or unsettled(self.store)
        return self.report

    def _take_joining(self, rows: list[tuple[Any, ...]], rejected: Path) -> None:
        """Give the rows that join people to the loop: first what joins them, then what the one they are now does not show."""
        first = []
        for line, place, who, at, data, *_ in rows:
            facts = {"attributes": json.loads(data)}
            first.append((line, self._incoming(PROFILE_UPDATED, facts, f"i{place}", who, at, line)))
        receipts = self.take(first, rejected)
        people = {r.profile for r in receipts if r.profile is not None}
        profiles = self.store.profiles_by_id(sorted(people))
        rest = []
        for (line, place, who, at, _, tags, *consents), receipt in zip(rows, receipts, strict=True):
            profile = profiles.get(receipt.profile or "")
            if profile is not None:
                told = self._differences(profile, {}, tags, consents, line)
                rest += [(line, self._incoming(type_, facts, f"i{place}", who, at, line)) for type_, facts in told]
        self.take(rest, rejected)
        self.report.joined = sum(r.status == "accepted" for r in receipts)
        self.report.loaded += self.report.joined
        self.report.duplicates += sum(r.status == "duplicate" for r in receipts)

    def _incoming(self, type_: str, facts: dict[str, Json], place: str, who: str, at: int, line: int) -> Incoming:
        text = msgspec.json.encode(facts, order="sorted").decode()
        return Incoming(
            type=type_, identifiers=self.named(who), data=facts, id=f"{place}-{self._digest(type_, text, at, line)}", at=at,
            source=self.source, kind=self.columns.kind,
        )  # fmt: skip

    def _digest(self, type_: str, text: str, at: int, line: int) -> str:
        """With a time of its own a row is the same fact whenever it is read; without, it is news of this import."""
        return digest(type_, text, str(at)) if self.columns.at else digest(type_, text, str(self.now), str(line))

    def _write(self, tx: Transaction, batch: Batch) -> None:
        batch, _ = self.rehome(tx, batch, ["line", "place", "profile", "origin", "at", "data", "tags"])
        profiles = tx.profiles(list({row[2] for row in batch}))
        events: list[tuple[Any, ...]] = []
        changed: set[int] = set()
        for line, place, key, origin, at, data, tags, *consents in batch:
            said = self._differences(profiles[key], json.loads(data), tags, consents, line)
            if said:
                changed.add(key)
                self.report.loaded += 1
            else:
                self.report.duplicates += 1
            for type_, facts in said:
                text = msgspec.json.encode(facts, order="sorted").decode()
                events.append((f"i{place}-{self._digest(type_, text, at, line)}", key, at, text, type_, origin))
        columns = ("id", "profile", "at", "data", "type", "origin")
        if events and tx.add_events(events, columns, {"received_at": self.received_at, "source": self.source}):
            refold_all(tx, sorted(changed))
            tx.set_meta(UNSETTLED, "1")
            self.report.touched = True

    def _differences(
        self, profile: Profile, attributes: dict[str, Json], tags: str | None, consents: list[str | None], line: int
    ) -> list[tuple[str, dict[str, Json]]]:
        """Return the facts of a row that the profile does not show yet, and take them as shown from here on."""
        found: list[tuple[str, dict[str, Json]]] = []
        news = {name: value for name, value in attributes.items() if not _same(profile.attributes.get(name, _ABSENT), value)}
        facts: dict[str, Json] = {"attributes": news}
        if STATUS in news and self.lifecycle is not None and profile.kind == "person":
            facts = self.lifecycle.given(profile, facts)
            news = {n: v for n, v in facts["attributes"].items() if not _same(profile.attributes.get(n, _ABSENT), v)}
            facts = {**facts, "attributes": news}
        if news:
            profile.attributes = {**profile.attributes, **news}
            found.append((PROFILE_UPDATED, facts))
        for tag in (*_tags(tags), *self.given):
            if tag not in profile.tags:
                profile.tags = (*profile.tags, tag)
                found.append((TAG_ADDED, {"tag": tag}))
        for name, said in zip(self.columns.consent, consents, strict=True):
            known = profile.consents.get(name)
            given = said in _YES
            if said is None or known is given or (known is False and given):
                continue  # an import never undoes an opt-out: only the person's own word does
            profile.consents = {**profile.consents, name: given}
            channel, _, purpose = name.partition("/")
            proof = {"file": self.staged.path.name, "line": line}
            consent: dict[str, Json] = {"channel": channel, "purpose": purpose, "explicit": False, "proof": proof}
            found.append((CONSENT_GRANTED if given else CONSENT_WITHDRAWN, consent))
        return found


def _same(known: object, value: Json) -> bool:
    return known == value and isinstance(known, bool) == isinstance(value, bool)


def _tags(text: str | None) -> list[str]:
    """Return the tags a cell holds: a JSON list, or words between commas, semicolons or bars."""
    if not text:
        return []
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = []
        parts = [str(tag) for tag in found] if isinstance(found, list) else []
    else:
        parts = re.split(r"[,;|]", text)
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))
