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
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule
from tailorbird.runtime.imports.mapping import read_mapping
from tailorbird.runtime.imports.people import Transaction
from tailorbird.runtime.imports.report import Report
from tailorbird.runtime.imports.rows import Progress, Rows, ahead, batches, refold_all
from tailorbird.runtime.imports.settling import UNSETTLED, unsettled
from tailorbird.runtime.imports.stage import Binds, Staged

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
    chunk: int = _CHUNK,
    tags: Sequence[str] = (),
) -> Report:
    """Import a CSV, JSONL or Parquet file of contacts; see ``docs/how-to/import.md`` for the mapping.

    ``tags`` are given to everybody in the file, besides those that a column holds.

    A row becomes ``profile.updated`` with the attributes that differ from what is stored, ``tag.added`` for tags the
    profile has not, and consent events where a consent is new or withdrawn; an empty cell says nothing. Facts hold from
    the row's own time if one is mapped, else from now. The same file again changes nothing. ``loaded`` counts rows that
    changed something, ``duplicates`` those that did not.
    """
    path = Path(path)
    with Staged.read(path, encoding=encoding, delimiter=delimiter) as staged:
        columns = read_mapping(mapping, staged.names, contacts=True, stem=path.stem, nested=staged.format == "jsonl")
        job = _Contacts(store, staged, columns, now=now, source=source, region=region, rule=rule, progress=progress)
        job.given = tuple(tags)
        if dry_run:
            return job.try_out()
        return job.run(Path(rejected) if rejected else path.with_name(path.name + ".rejected.jsonl"), chunk)


class _Contacts(Rows):
    """One import of contacts."""

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
        rows = self.con.cursor().execute(
            f"""SELECT r.line, w.place, p.key, p.origin, least(r.moment, ?), r.data, r.tags{consents}
            FROM rows r JOIN whos w USING (who) JOIN people p USING (n) WHERE r.reason IS NULL AND p.reason IS NULL
            ORDER BY w.place, r.moment, r.line""",
            [self.now],
        )
        position, total = 0, self.report.rows - self.report.rejected
        for batch in ahead(batches(rows, chunk)):
            with self.bulk.transaction() as tx:
                self._write(tx, batch)
            position += len(batch)
            self.progress(position, total)
        self.report.touched = self.report.touched or unsettled(self.store)
        return self.report

    def _write(self, tx: Transaction, batch: list[tuple[Any, ...]]) -> None:
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
                # With a time of its own the row is the same fact whenever it is read; without, it is news of this import.
                id_ = digest(type_, text, str(at)) if self.columns.at else digest(type_, text, str(self.now), str(line))
                events.append((f"i{place}-{id_}", key, at, text, type_, origin))
        columns = ("id", "profile", "at", "data", "type", "origin")
        if events and tx.add_events(events, columns, {"received_at": self.now, "source": self.source}):
            refold_all(tx, sorted(changed))
            tx.set_meta(UNSETTLED, "1")
            self.report.touched = True

    def _differences(
        self, profile: Profile, attributes: dict[str, Json], tags: str | None, consents: list[str | None], line: int
    ) -> list[tuple[str, dict[str, Json]]]:
        """Return the facts of a row that the profile does not show yet, and take them as shown from here on."""
        found: list[tuple[str, dict[str, Json]]] = []
        news = {name: value for name, value in attributes.items() if not _same(profile.attributes.get(name, _ABSENT), value)}
        if news:
            profile.attributes = {**profile.attributes, **news}
            found.append((PROFILE_UPDATED, {"attributes": news}))
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
            facts: dict[str, Json] = {"channel": channel, "purpose": purpose, "explicit": False, "proof": proof}
            found.append((CONSENT_GRANTED if given else CONSENT_WITHDRAWN, facts))
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
