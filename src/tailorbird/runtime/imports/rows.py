"""The rows of a staged file: checked, named, and told apart into those to load and those to reject."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from tailorbird.core.context import DAY
from tailorbird.core.event import MERGED, NAME_PATTERN, SEGMENT_ENTERED, SEGMENT_EXITED, UNMERGED
from tailorbird.enrichment.answers import FAILED, FINISHED, MISSED, RECEIVED
from tailorbird.ports import Store
from tailorbird.profiles.fold import refold
from tailorbird.profiles.rules import DEFAULT_RULE, MergeRule
from tailorbird.runtime.imports.mapping import Columns
from tailorbird.runtime.imports.people import JOINS, Bulk, Names, Transaction, find_or_create, read_names
from tailorbird.runtime.imports.report import Report, write_rejected
from tailorbird.runtime.imports.stage import TIME_PATTERN, Binds, Staged
from tailorbird.runtime.imports.turns import Turns, by_itself
from tailorbird.runtime.ingest import OWN_IDS, Incoming, Receipt

__all__ = ["SEPARATOR", "Batch", "Progress", "Rows", "ahead", "batches", "refold_all"]

_T = TypeVar("_T")
Batch = list[tuple[Any, ...]]
Progress = Callable[[int, int], None]
"""Told how many rows are done and how many there are."""

SEPARATOR: Final = "\x1f"
"""Between the identifiers of one row, and between what a digest is made of."""

_TAKEN: Final = 200  # events given to the loop at once
_PEOPLE: Final = 20_000  # rows of identifiers resolved in one transaction
_FETCH: Final = 1_000  # rows made into Python values at a time: between two, the thread that writes can go on
_MAX_DATA: Final = 32_768  # bytes of an event's data, as at intake
_MAX_DEPTH: Final = 64
_AHEAD: Final = DAY
_OURS: Final = (
    SEGMENT_ENTERED, SEGMENT_EXITED, MERGED, UNMERGED, "timer.fired", "stage.changed", RECEIVED, MISSED, FAILED, FINISHED,
)  # fmt: skip


class Rows:
    """One file on its way in: makes the tables ``rows``, ``whos``, ``people`` and ``rejected`` in its scratch database."""

    def __init__(
        self, store: Store, staged: Staged, columns: Columns, *, now: int, source: str = "import", region: str | None = None,
        rule: MergeRule = DEFAULT_RULE, progress: Progress | None = None, turns: Turns | None = None,
    ) -> None:  # fmt: skip
        self.turns = turns or by_itself(now)
        self.received_at = now
        self.store = store
        self.bulk: Bulk = store.bulk()
        self.staged = staged
        self.con = staged.con
        self.columns = columns
        self.now = now
        self.source = source
        self.region = region
        self.rule = rule
        self.progress = progress or (lambda done, total: None)
        self.readings = {**staged.readings(columns.data.values())}
        for name, reading in columns.readings.items():
            self.readings[columns.data[name]] = reading
        self.report = Report(
            file=staged.path.name,
            format=staged.format,
            mapping=columns.as_json(),
            readings={name: self.readings.get(column, "text") for name, column in columns.data.items()},
            rows=staged.rows,
        )

    def try_out(self) -> Report:
        """Do everything but write."""
        self.report.dry_run = True
        self.sort_out(None, None)
        self.report.loaded = self.report.rows - self.report.rejected
        rows = self.con.execute("SELECT who, type, moment, data FROM rows WHERE reason IS NULL ORDER BY line LIMIT 5").fetchall()
        kinds = list(self.columns.identifiers)
        self.report.first = [
            {**dict(zip(kinds, who.split(SEPARATOR), strict=True)), "type": type_, "at": at, "data": json.loads(data)}
            for who, type_, at, data in rows
        ]
        return self.report

    def sort_out(self, bulk: Bulk | None, rejected: Path | None) -> None:
        """Check every row, find or create everyone, and write what is rejected; without a bulk loader nobody is created."""
        self._parse_rows()
        self._name_people(bulk)
        self.con.execute(
            "CREATE TABLE rejected AS SELECT line, reason FROM rows WHERE reason IS NOT NULL UNION ALL "
            "SELECT r.line, p.reason FROM rows r JOIN whos w USING (who) JOIN people p USING (n) "
            "WHERE r.reason IS NULL AND p.reason <> '' AND (p.reason <> ? OR ?)",
            [JOINS, self.turns.take is None],
        )
        self._tell_rejected(rejected)

    def _tell_rejected(self, path: Path | None) -> None:
        self.report.rejected, self.report.reasons = write_rejected(self.staged, path)
        self.report.rejected_path = str(path) if path and self.report.rejected else None

    # ---- writing
    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Give one transaction in a turn of its own, ``received_at`` being its instant; others get theirs in between."""
        with self.turns.alone() as now, self.bulk.transaction() as tx:
            self.received_at = max(now, self.received_at)
            yield tx

    def rehome(self, tx: Transaction, batch: Batch, columns: list[str]) -> tuple[Batch, list[str]]:
        """Return the rows with those who hold them now: people may have been joined or erased since they were named."""
        place = columns.index("origin" if "origin" in columns else "profile")
        moved = tx.owners(list({row[place] for row in batch}))
        if not moved:
            return batch, columns
        key, found = columns.index("profile"), []
        for row in batch:
            holder = moved.get(row[place], row[place])
            if holder is not None:
                found.append((*row[:key], holder, *row[key + 1 :], *(() if "origin" in columns else (row[place],))))
        return found, columns if "origin" in columns else [*columns, "origin"]

    def take(self, events: Sequence[tuple[int, Incoming]], rejected: Path | None) -> list[Receipt]:
        """Give events, each with the line it comes from, to the loop in their order; count them, and tell what is rejected."""
        assert self.turns.take is not None
        receipts: list[Receipt] = []
        for start in range(0, len(events), _TAKEN):
            receipts += self.turns.take([event for _, event in events[start : start + _TAKEN]])
        bad = [(line, "; ".join(r.mistakes)) for (line, _), r in zip(events, receipts, strict=True) if r.status == "rejected"]
        if bad:
            self.con.executemany("INSERT INTO rejected VALUES (?, ?)", bad)
            self._tell_rejected(rejected)
        return receipts

    def named(self, who: str) -> dict[str, str]:
        """Return the identifiers of a row by kind."""
        said = zip(self.columns.identifiers, who.split(SEPARATOR), strict=True)
        return {kind: value for kind, value in said if value}

    # ---- reading the rows
    def checks(self, binds: Binds) -> str:
        """Return further reasons for rejecting a row, as branches of a CASE."""
        return ""

    def more(self) -> dict[str, Callable[[Binds], str]]:
        """Return further columns of ``rows``: name to SQL."""
        return {}

    def _parse_rows(self) -> None:
        binds = Binds()
        text = self.staged.text
        who = [f"coalesce(trim({text(column, binds)}), '')" for column in self.columns.identifiers.values()]
        type_, at, id_ = self.columns.type, self.columns.at, self.columns.id
        data, content = self._data(binds)
        fields = {
            "who": f"concat_ws('{SEPARATOR}', {', '.join(who)})",
            "type": f"trim({text(type_ or '=', binds)})",
            "said": f"trim({text(at, binds)})" if at else f"{binds(str(self.now))}::VARCHAR",
            "id": text(id_, binds) if id_ else "NULL::VARCHAR",
            **{name: sql(binds) for name, sql in self.more().items()},
            "data": data,
            "content": content,
        }
        inner = ", ".join(f"{sql} AS {name}" for name, sql in fields.items())
        self.con.execute(f"CREATE TABLE said AS SELECT line, reason, {inner} FROM staged", binds)
        whole, binds = self.columns.whole is not None, Binds()
        moment = self._at(binds) if at else "said::BIGINT"
        # One object in one column: brought to its shortest form, NULL where it is none.
        shortest = (
            ", CASE WHEN data IS NULL THEN '{}' WHEN json_valid(data) THEN CASE WHEN json_type(data) = 'OBJECT' "
            "THEN json_extract(data, '$')::VARCHAR END END AS data"
        )
        object_ = shortest if whole else ""
        nobody = SEPARATOR * (len(who) - 1)
        self.con.execute(
            f"""CREATE TABLE rows AS SELECT *, CASE
                WHEN broken IS NOT NULL THEN broken
                WHEN who = {binds(nobody)} THEN {binds(f"there is no identifier ({', '.join(self.columns.identifiers.values())})")}
                WHEN said IS NULL THEN {binds(f"there is no time ({at})")}
                WHEN moment IS NULL THEN concat('the time is not understood: ''', left(said, 60), '''')
                WHEN moment < 0 THEN concat('the time lies before 1970: ''', left(said, 60), '''')
                WHEN moment > {binds(self.now + _AHEAD)}
                THEN concat('the time lies more than a day in the future: ''', left(said, 60), '''')
                WHEN type IS NULL OR type = '' THEN {binds(f"there is no type ({type_})")}
                WHEN NOT regexp_full_match(type, '{NAME_PATTERN}')
                THEN 'the type is longer than 200 characters or holds more than printable ASCII'
                WHEN type IN {_OURS} THEN concat('such events are written by Tailorbird itself: ''', type, '''')
                WHEN NOT regexp_full_match(id, '{NAME_PATTERN}')
                THEN 'the id is longer than 200 characters, ends in a space, or holds more than printable ASCII'
                WHEN starts_with(id, '{OWN_IDS}') THEN concat('ids such as this are given by Tailorbird itself: ''', left(id, 60), '''')
                WHEN data IS NULL THEN 'the data is not a JSON object'
                WHEN strlen(data) > {_MAX_DATA} THEN 'the data is larger than {_MAX_DATA} bytes'
                {self.checks(binds)}
                WHEN contains(lower(data), 'nan') OR contains(lower(data), 'inf') THEN CASE
                    WHEN regexp_matches(regexp_replace(data, '"(\\\\.|[^"\\\\])*"', '', 'g'), '(?i)nan|inf')
                    THEN 'NaN and Infinity are not JSON' END
                END AS reason
            FROM (SELECT * EXCLUDE (reason{", data" if whole else ""}), reason AS broken, {moment} AS moment{object_} FROM said)""",
            binds,
        )
        self.con.execute("DROP TABLE said")
        self._reject_deep()

    def _data(self, binds: Binds) -> tuple[str, str]:
        """Return SQL for the data as JSON text, and for what of it goes into the row's digest."""
        if self.columns.whole:
            found = self.staged.json(self.columns.whole, "text", binds)
            if self.staged.format != "jsonl":
                found = self.staged.text(self.columns.whole, binds)
            return found, "NULL::VARCHAR"
        parts, said = [], []
        for name, column in sorted(self.columns.data.items()):
            key = binds(json.dumps(name, ensure_ascii=False) + ":")
            value = self.staged.json(column, self.readings.get(column, "text"), binds)
            parts.append(f"{key} || {value}")
            if self.staged.format == "csv":  # the digest is of the text, so that it does not hang on how the column reads
                said.append(f"{key} || {self.staged.text(column, binds)}")
        if not parts:
            return "'{}'", "''"
        data = f"concat('{{', concat_ws(',', {', '.join(parts)}), '}}')"
        return data, f"concat_ws('{SEPARATOR}', {', '.join(said)})" if said else "NULL::VARCHAR"

    def _at(self, binds: Binds) -> str:
        """Return SQL for the instant in ms that ``said`` names: ISO text, seconds or ms since 1970, or the mapped format."""
        if self.columns.at_format:
            return f"epoch_ms(try_strptime(said, {binds(self.columns.at_format)}))"
        zone = "right(said, 6)"
        minutes = f"(CAST(substr({zone}, 2, 2) AS BIGINT) * 60 + CAST(right(said, 2) AS BIGINT))"
        offset = f"CAST(substr({zone}, 1, 1) || '1' AS BIGINT) * {minutes} * 60000"
        local = "epoch_ms(try_cast(left({0}, 23) AS TIMESTAMP))"
        return f"""CASE WHEN NOT regexp_full_match(said, '{TIME_PATTERN}') THEN CASE
                WHEN regexp_full_match(said, '[0-9]{{9,10}}') THEN CAST(said AS BIGINT) * 1000
                WHEN regexp_full_match(said, '[0-9]{{11,13}}') THEN CAST(said AS BIGINT)
                WHEN regexp_full_match(said, '[0-9]{{9,10}}[.][0-9]+') THEN CAST(floor(CAST(said AS DECIMAL(38, 6)) * 1000) AS BIGINT) END
            WHEN strlen(said) = 10 THEN epoch_ms(try_cast(said AS DATE)::TIMESTAMP)
            WHEN right(said, 1) = 'Z' THEN {local.format("left(said, strlen(said) - 1)")}
            WHEN regexp_matches(said, '[+-][0-9]{{2}}:[0-9]{{2}}$') THEN {local.format("left(said, strlen(said) - 6)")} - {offset}
            ELSE {local.format("said")} END"""

    def _reject_deep(self) -> None:
        """Reject data nested so deeply that readers would fail on it; counted exactly only where there are many brackets."""
        brackets = "strlen(data) - strlen(replace(replace(data, '[', ''), '{', ''))"
        found = self.con.execute(f"SELECT line, data FROM rows WHERE reason IS NULL AND {brackets} > {_MAX_DEPTH}").fetchall()
        deep = [line for line, data in found if _depth(data) > _MAX_DEPTH]
        if deep:
            self.con.execute(
                "UPDATE rows SET reason = ? WHERE line IN (SELECT unnest(?))",
                [f"the data is nested more than {_MAX_DEPTH} levels deep", deep],
            )

    # ---- people
    def _name_people(self, bulk: Bulk | None) -> None:
        """Make the table ``people`` (n, key, origin, reason); without a bulk loader nobody is created and keys are 0."""
        self.con.execute(
            "CREATE TABLE whos AS SELECT row_number() OVER () AS n, who, left(md5(who), 12) AS place "
            "FROM (SELECT DISTINCT who FROM rows WHERE reason IS NULL)"
        )
        answers = Path(self.staged.scratch.name) / "people.csv"
        with answers.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            for batch in batches(self.con.cursor().execute("SELECT n, who FROM whos ORDER BY place, who"), _PEOPLE):
                self._name_batch(batch, bulk, out)
        self.con.execute(
            "CREATE TABLE people AS SELECT * FROM read_csv(?, auto_detect=false, header=false, delim=',', quote='\"', escape='\"', "
            "columns={'n': 'BIGINT', 'key': 'BIGINT', 'origin': 'BIGINT', 'reason': 'VARCHAR'})",
            [str(answers)],
        )
        answers.unlink()

    def _name_batch(self, batch: list[tuple[Any, ...]], bulk: Bulk | None, out: Any) -> None:
        kinds = list(self.columns.identifiers)
        good: list[tuple[int, Names]] = []
        for n, who in batch:
            names = read_names(kinds, who.split(SEPARATOR), profile_kind=self.columns.kind, region=self.region)
            if isinstance(names, str):
                out.writerow((n, 0, 0, names))
            else:
                good.append((n, names))
        if bulk is None:
            out.writerows((n, 0, 0, "") for n, _ in good)
            return
        if not good:
            return
        with self.writing() as tx:
            before = tx.next_key()
            keys = find_or_create(tx, [names for _, names in good], now=self.received_at, kind=self.columns.kind, rule=self.rule)
            self.report.created += tx.next_key() - before
        out.writerows((n, 0, 0, key) if isinstance(key, str) else (n, *key, "") for (n, _), key in zip(good, keys, strict=True))


def batches(cursor: Any, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a query, so many at a time."""
    while batch := cursor.fetchmany(min(size, _FETCH)):
        while len(batch) < size and (more := cursor.fetchmany(min(size - len(batch), _FETCH))):
            batch += more
        yield batch


def ahead(batches: Iterator[_T]) -> Iterator[_T]:
    """Yield the same, each made by a thread while the one before is in use: both databases leave the interpreter to others."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _depth(text: str) -> int:
    """Return how deeply a JSON text is nested."""
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif inside:
            inside, escaped = character != '"', character == "\\"
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def refold_all(tx: Transaction, keys: list[int]) -> None:
    """Rebuild the read model of profiles from the facts in their histories."""
    events = tx.facts(keys)
    profiles = tx.profiles(keys)
    for key, profile in profiles.items():
        refold(profile, events.get(key, ()))
    tx.put_profiles(profiles.values())
