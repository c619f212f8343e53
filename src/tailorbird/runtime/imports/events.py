"""Importing events: a file becomes rows of the event table without one turn of the loop for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tailorbird.core.ids import digest
from tailorbird.ports import Store
from tailorbird.profiles.fold import FACT_TYPES
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule
from tailorbird.runtime.imports.mapping import read_mapping
from tailorbird.runtime.imports.people import JOINS, Transaction
from tailorbird.runtime.imports.report import Report
from tailorbird.runtime.imports.rows import SEPARATOR, Batch, Progress, Rows, ahead, batches, refold_all
from tailorbird.runtime.imports.settling import UNSETTLED, unsettled
from tailorbird.runtime.imports.stage import Binds, Staged
from tailorbird.runtime.imports.turns import Turns
from tailorbird.runtime.ingest import Incoming

__all__ = ["import_events"]

_CHUNK: Final = 100_000  # rows a transaction: large enough that the indexes are written in long runs, small enough to lose


def import_events(
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
    turns: Turns | None = None,
) -> Report:
    """Import a CSV, JSONL or Parquet file of events; see ``docs/how-to/import.md`` for the mapping.

    Rows that cannot be taken are written with line and reason to ``rejected`` (``<file>.rejected.jsonl``); the rest is
    loaded. An event's id is the mapped one, or a digest of what the row says and of which of equal rows it is, so the same
    file, or a longer one, adds only what is new. Interrupted at any moment, it goes on from the last chunk that was
    committed. Rows that join people are given to the loop after all others, in the order of the file (see ``Turns``).
    Memberships and timers are not brought up to date here.
    """
    path = Path(path)
    with Staged.read(path, encoding=encoding, delimiter=delimiter) as staged:
        columns = read_mapping(mapping, staged.names, contacts=False, stem=path.stem, nested=staged.format == "jsonl")
        job = _Events(store, staged, columns, now=now, source=source, region=region, rule=rule, progress=progress, turns=turns)
        if dry_run:
            return job.try_out()
        return job.run(Path(rejected) if rejected else path.with_name(path.name + ".rejected.jsonl"), chunk)


class _Events(Rows):
    """One import of events."""

    facts = False
    place = ""

    def run(self, rejected: Path, chunk: int) -> Report:
        """Write what can be written."""
        key = digest("import", self.staged.fingerprint, json.dumps(self.columns.as_json(), sort_keys=True), self.source)
        self.place = f"import:events:{key}"
        done = self._progress_so_far()
        if done.get("done"):
            self.report.touched = unsettled(self.store)
            self.report.already, self.report.duplicates = True, done["loaded"] + done["duplicates"]
            self.report.rejected = done["rejected"]
            return self.report
        self.sort_out(self.bulk, rejected)
        self._load(done, chunk)
        self._take_joining(rejected)
        self.report.touched = self.report.touched or unsettled(self.store)
        return self.report

    def _load(self, done: dict[str, Any], chunk: int) -> None:
        """Append the rows, chunk by chunk, each with the place reached."""
        self.report.resumed = bool(done)
        self.report.loaded, self.report.duplicates = done.get("loaded", 0), done.get("duplicates", 0)
        before = self.report.loaded + self.report.duplicates
        self._sort(done.get("after"))
        rest = self.staged.one("SELECT count(*) FROM sorted")
        last = not self.staged.one("SELECT count(*) FROM joining")
        if not rest and last:
            with self.writing() as tx:
                self._remember(tx, done.get("after"), done=True)
        position = 0
        columns, constants = self._shape()
        rows = self.con.cursor().execute(
            f"SELECT {', '.join('key' if c == 'profile' else 'stamp' if c == 'at' else c for c in columns)} FROM sorted ORDER BY rowid"
        )
        for batch in ahead(batches(rows, chunk)):
            position += len(batch)
            after = self.con.execute("SELECT place, moment, line FROM sorted WHERE rowid = ?", [position - 1]).fetchone()
            with self.writing() as tx:
                homed, shape = self.rehome(tx, batch, columns)
                added = tx.add_events(homed, shape, {**constants, "received_at": self.received_at})
                self._fold(tx, homed, shape, constants.get("type"))
                self.report.loaded += added
                self.report.duplicates += len(batch) - added
                self._remember(tx, after, done=last and position == rest)
                tx.set_meta(UNSETTLED, "1")
            self.report.touched = True
            self.progress(before + position, before + rest)

    def _shape(self) -> tuple[list[str], dict[str, Any]]:
        """Return which columns differ between rows, and what is the same in all: what need not be carried costs nothing."""
        columns: list[str] = ["id", "profile", "at", "data"]
        constants: dict[str, Any] = {"source": self.source}
        first, last, moved, self.facts = self.con.execute(
            "SELECT min(type), max(type), bool_or(origin <> key), coalesce(bool_or(list_contains(?, type)), false) FROM sorted",
            [sorted(FACT_TYPES)],
        ).fetchall()[0]
        if first is not None and first == last:
            constants["type"] = first
        else:
            columns.append("type")
        if moved:
            columns.append("origin")
        return columns, constants

    def _sort(self, after: tuple[str, int, int] | None) -> None:
        """Make the table ``sorted``: the rows in the order they are stored in, by person, so that both indexes grow in long runs.

        ``after`` is the place (place, moment, line) that an interrupted import reached.
        """
        self._make("sorted", after, "p.reason IS NULL", "place, moment, line")
        self._make("joining", None, "p.reason = $joins", "line")
        self.con.execute("DROP TABLE rows")

    def _make(self, table: str, after: tuple[str, int, int] | None, which: str, order: str) -> None:
        binds = Binds()
        which = which.replace("$joins", binds(JOINS)) if "$joins" in which else which
        given = "r.id" if self.columns.id else "NULL"
        said = "coalesce(r.content, r.data)"
        rest = f"WHERE (place, moment, line) > ({binds(after[0])}, {binds(after[1])}, {binds(after[2])})" if after else ""
        self.con.execute(
            f"""CREATE TABLE {table} AS
            WITH told AS (
                SELECT r.line, {given} AS id, w.place, w.who, r.type, p.key, p.origin, r.moment, r.data,
                    left(md5(concat_ws('{SEPARATOR}', {binds(self.columns.kind)}, w.who, r.type, r.moment, {said})), 20) AS content
                FROM rows r JOIN whos w USING (who) JOIN people p USING (n) WHERE r.reason IS NULL AND {which}
            ), counted AS (
                SELECT *, row_number() OVER (PARTITION BY place, moment, content ORDER BY line) AS copy FROM told
            )
            SELECT coalesce(id, concat('i', place, '-', content, CASE WHEN copy > 1 THEN concat('.', copy) ELSE '' END)) AS id,
                type, key, origin, least(moment, {binds(self.now)}) AS stamp, data, place, moment, line,
                who
            FROM counted {rest} ORDER BY {order}""",
            binds,
        )

    def _fold(self, tx: Transaction, batch: Batch, columns: list[str], type_: str | None) -> None:
        """Rebuild the read model of the profiles that were given facts."""
        if not self.facts:
            return
        key, kind = columns.index("profile"), columns.index("type") if type_ is None else None
        refold_all(tx, sorted({row[key] for row in batch if (type_ if kind is None else row[kind]) in FACT_TYPES}))

    def _take_joining(self, rejected: Path) -> None:
        """Give the rows that join people to the loop; then, and not before, the file is done."""
        rows = self.con.execute("SELECT line, id, type, stamp, data, who FROM joining ORDER BY line").fetchall()
        if not rows:
            return
        with self.writing() as tx:  # who is joined by now is no longer set apart: an interrupted import looks at all rows again
            place = {"file": self.staged.path.name, "at": self.now, "after": None, "loaded": 0, "duplicates": 0, "rejected": 0}
            tx.set_meta(self.place, msgspec.json.encode(place).decode())
        receipts = self.take(
            [
                (
                    line,
                    Incoming(
                        type=type_, identifiers=self.named(who), data=msgspec.json.decode(data), id=id_, at=at,
                        source=self.source, kind=self.columns.kind,
                    ),
                )
                for line, id_, type_, at, data, who in rows
            ],
            rejected,
        )  # fmt: skip
        self.report.joined = sum(r.status == "accepted" for r in receipts)
        self.report.loaded += self.report.joined
        self.report.duplicates += sum(r.status == "duplicate" for r in receipts)
        self.report.touched = True
        with self.writing() as tx:
            self._remember(tx, None, done=True)

    def _progress_so_far(self) -> dict[str, Any]:
        with self.bulk.transaction() as tx:
            text = tx.get_meta(self.place)
        found: dict[str, Any] = msgspec.json.decode(text) if text else {}
        return found

    def _remember(self, tx: Transaction, after: Any, *, done: bool) -> None:
        place = {
            "file": self.staged.path.name, "at": self.now, "after": after, "loaded": self.report.loaded,
            "duplicates": self.report.duplicates, "rejected": self.report.rejected, "done": done,
        }  # fmt: skip
        tx.set_meta(self.place, msgspec.json.encode(place).decode())
