"""A file brought into a scratch DuckDB, one row a record, and SQL that reads its columns as text or as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

import duckdb

from tailorbird.errors import InvalidInput, NotFound
from tailorbird.runtime.imports.clean import (
    Record,
    csv_records,
    json_lines,
    open_text,
    read_delimiter,
    read_encoding,
    sniff_delimiter,
)

__all__ = ["TIME_PATTERN", "Binds", "Staged", "quote_time"]

_NUMBER: Final = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?"
TIME_PATTERN: Final = (
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
"""Text that reads as a time, as the semantics say it (the calendar is checked by the cast)."""

_LONGEST: Final = 1_000_000  # characters of a header
_MOST_COLUMNS: Final = 2_000
_FORMATS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
_NUMERIC: Final = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
)


class Binds(dict[str, Any]):
    """The parameters of one query, by name; calling it adds one and returns its place holder."""

    def __call__(self, value: Any) -> str:
        name = f"p{len(self)}"
        self[name] = value
        return f"${name}"


@dataclass(slots=True)
class Staged:
    """A file in the table ``staged``: ``line`` and ``c0, c1, …`` (JSONL: the object in ``c0``).

    ``exact`` says whether ``line`` is a line of the file, or the number of the record (then ``lines_of`` finds the line).
    ``broken`` are the records that could not be read at all. ``fingerprint`` is a digest of the file's bytes.
    """

    path: Path
    format: str
    con: duckdb.DuckDBPyConnection
    scratch: TemporaryDirectory[str]
    encoding: str = "utf-8"
    delimiter: str = ","
    names: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    exact: bool = True
    broken: list[Record] = field(default_factory=list)
    fingerprint: str = ""
    rows: int = 0

    @classmethod
    def read(cls, path: Path, *, encoding: str = "utf-8", delimiter: str | None = None, memory: str = "1GB") -> Self:
        """Stage a CSV, JSONL or Parquet file; raise ``NotFound`` or ``InvalidInput`` when it is none."""
        if not path.is_file():
            raise NotFound(f"There is no file {path}.", hint="Give the path of a CSV, JSONL or Parquet file.")
        kind = _FORMATS.get(path.suffix.lower())
        if kind is None:
            raise InvalidInput(f"{path.name} is none of {', '.join(_FORMATS)}.", hint="The ending of the name says the format.")
        encoding, delimiter = read_encoding(path, encoding), read_delimiter(delimiter)
        scratch = TemporaryDirectory(prefix="tailorbird-import-")
        con = duckdb.connect(
            config={
                "memory_limit": memory, "threads": 2, "temp_directory": scratch.name,
                "autoinstall_known_extensions": False, "autoload_known_extensions": False,
            }
        )  # fmt: skip
        staged = cls(path=path, format=kind, con=con, scratch=scratch, encoding=encoding)
        try:
            staged._read(delimiter)
        except BaseException:
            staged.close()
            raise
        return staged

    @classmethod
    def header(cls, path: Path, *, encoding: str = "utf-8", delimiter: str | None = None) -> list[str]:
        """Return the names of a file's columns without reading it whole (but for JSONL); raise as ``read``."""
        if _FORMATS.get(path.suffix.lower()) != "csv":
            with cls.read(path, encoding=encoding, delimiter=delimiter) as staged:
                return staged.names
        return _open_csv(path, read_encoding(path, encoding), read_delimiter(delimiter))[1]

    def close(self) -> None:
        self.con.close()
        self.scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # ---- reading
    def _read(self, delimiter: str | None) -> None:
        self.fingerprint, plain, lines = _fingerprint(self.path)
        plain = plain and self.encoding.lower().replace("_", "-") in ("utf-8", "utf8", "ascii", "us-ascii")
        match self.format:
            case "csv":
                self._read_csv(delimiter, plain)
                self.exact = self.exact or lines == self.one("SELECT count(*) FROM staged") + 1
            case "jsonl":
                self._read_jsonl(plain)
            case _:
                self._read_parquet()
        self.rows = self.one("SELECT count(*) FROM staged") + len(self.broken)

    def _read_csv(self, delimiter: str | None, plain: bool) -> None:
        self.delimiter, self.names = _open_csv(self.path, self.encoding, delimiter)
        with open_text(self.path, self.encoding) as file:
            records = csv_records(file, self.delimiter)
            next(records, None)
            self.types = ["VARCHAR"] * len(self.names)
            if plain and len(self.names) > 1 and self._load_csv(self.path, self.delimiter, self.names):
                self.exact = False
                return
            clean = Path(self.scratch.name) / "clean.csv"
            with clean.open("w", encoding="utf-8", newline="") as out:
                csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(self._whole(records))
        columns = {"line": "BIGINT", **{f"c{i}": "VARCHAR" for i in range(len(self.names))}}
        self.con.execute(
            "CREATE TABLE staged AS SELECT *, NULL::VARCHAR AS reason FROM read_csv(?, auto_detect=false, header=false, "
            "delim=',', quote='\"', escape='\"', max_line_size=4000000, columns=?)",
            [str(clean), columns],
        )
        clean.unlink()

    def _load_csv(self, path: Path, delimiter: str, names: list[str]) -> bool:
        """Let DuckDB read the file in parallel; False when it finds anything amiss in it."""
        columns = {f"c{i}": "VARCHAR" for i in range(len(names))}
        try:
            self.con.execute(
                "CREATE TABLE raw AS SELECT * FROM read_csv(?, auto_detect=false, header=true, delim=?, quote='\"', escape='\"', "
                "strict_mode=true, columns=?)",
                [str(path), delimiter, columns],
            )
        except duckdb.Error:
            return False
        self.con.execute("CREATE VIEW staged AS SELECT rowid + 2 AS line, NULL::VARCHAR AS reason, * FROM raw")
        return True

    def _whole(self, records: Iterator[Record]) -> Iterator[list[Any]]:
        wanted = len(self.names)
        for record in records:
            if record.reason is not None:
                self.broken.append(record)
            elif len(record.fields) != wanted:
                said = f"it has {len(record.fields)} fields where the header has {wanted}"
                self.broken.append(record._replace(reason=said))
            else:
                yield [record.line, *record.fields]

    def _read_jsonl(self, plain: bool) -> None:
        options = (
            "auto_detect=false, header=false, delim='\x1f', quote='', escape='', strict_mode=true, max_line_size=2000000, "
            "columns={'c0': 'VARCHAR'}"
        )
        loaded = False
        if plain:
            try:
                self.con.execute(f"CREATE TABLE raw AS SELECT * FROM read_csv(?, {options})", [str(self.path)])
                loaded = True
            except duckdb.Error:
                loaded = False
        if loaded:
            self.con.execute("CREATE VIEW lines AS SELECT rowid + 1 AS line, c0 AS text FROM raw WHERE trim(c0) <> ''")
        else:
            self._clean_jsonl()
        # What is no JSON must never reach a function of JSON: filters may be evaluated in any order.
        self.con.execute("CREATE TABLE whole AS SELECT line, text, CASE WHEN json_valid(text) THEN text END AS json FROM lines")
        self.con.execute(
            "CREATE VIEW staged AS SELECT line, text, CASE WHEN json_type(json) = 'OBJECT' THEN json ELSE '{}' END AS c0, "
            "CASE WHEN json IS NULL THEN 'the line is not JSON' WHEN json_type(json) <> 'OBJECT' THEN 'the line is not a JSON object' "
            "WHEN contains(json, '\\u0000') THEN 'it holds a NUL character' END AS reason FROM whole"
        )
        found = self.con.execute("SELECT DISTINCT unnest(json_keys(c0)) FROM staged").fetchall()
        self.names = sorted(name for (name,) in found)
        if not self.names:
            raise InvalidInput(f"{self.path.name} holds no JSON object.", hint="JSONL is one JSON object a line.")

    def _clean_jsonl(self) -> None:
        clean = Path(self.scratch.name) / "clean.txt"
        with open_text(self.path, self.encoding) as file, clean.open("w", encoding="utf-8", newline="") as out:
            for record in json_lines(file):
                if record.reason is None:
                    out.write(f"{record.line}\x1f{record.fields[0]}\n")
                else:
                    self.broken.append(record)
        self.con.execute(
            "CREATE TABLE lines AS SELECT * FROM read_csv(?, auto_detect=false, header=false, delim='\x1f', quote='', escape='', "
            "max_line_size=4000000, columns={'line': 'BIGINT', 'text': 'VARCHAR'})",
            [str(clean)],
        )
        clean.unlink()

    def _read_parquet(self) -> None:
        try:
            described = self.con.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(self.path)]).fetchall()
        except duckdb.Error as error:
            raise InvalidInput(f"{self.path.name} is not a Parquet file that can be read: {_first_line(error)}") from None
        self.names = [row[0] for row in described]
        self.types = [row[1] for row in described]
        aliases = ", ".join(f"c{i}" for i in range(len(self.names)))
        self.con.execute(f"CREATE TABLE raw AS SELECT * FROM read_parquet(?) AS t({aliases})", [str(self.path)])
        self.con.execute("CREATE VIEW staged AS SELECT rowid + 1 AS line, NULL::VARCHAR AS reason, * FROM raw")

    # ---- asking
    def one(self, sql: str, binds: Any = None) -> Any:
        """Return the first value of a query's first row."""
        row = self.con.execute(sql, binds or {}).fetchone()
        return row[0] if row else None

    def text(self, column: str, binds: Binds) -> str:
        """Return SQL that yields a column (or ``=constant``) as text, NULL where it is empty."""
        if column.startswith("="):
            return f"{binds(column[1:])}::VARCHAR"
        if self.format == "jsonl":
            return f"nullif(json_extract_string(c0, {binds(self._pointer(column))}), '')"
        place = self.names.index(column)
        type_ = self.types[place]
        if type_ == "VARCHAR":
            return f"nullif(c{place}, '')"
        if type_.startswith("TIMESTAMP") or type_ == "DATE":
            return quote_time(f"c{place}", type_)
        return f"c{place}::VARCHAR"

    def json(self, column: str, reading: str, binds: Binds) -> str:
        """Return SQL that yields a column as JSON text, NULL where it is empty; ``reading`` is number, text, bool or any."""
        if column.startswith("="):
            return f"{binds(json.dumps(column[1:]))}::VARCHAR"
        if self.format == "jsonl":
            found = f"json_extract(c0, {binds(self._pointer(column))})::VARCHAR"
            return f"nullif({found}, 'null')"
        place = self.names.index(column)
        name, type_ = f"c{place}", self.types[place]
        if type_ == "VARCHAR":
            match reading:
                case "number":
                    return f"CASE WHEN regexp_full_match({name}, '{_NUMBER}') THEN {name} END"
                case "bool":
                    return f"CASE lower({name}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' END"
            return f"to_json(nullif({name}, ''))::VARCHAR"
        if type_ in _NUMERIC or type_.startswith("DECIMAL"):
            return f"{name}::VARCHAR"
        if type_ in ("FLOAT", "DOUBLE"):
            return f"CASE WHEN isfinite({name}) THEN to_json({name})::VARCHAR END"
        if type_.startswith("TIMESTAMP") or type_ == "DATE":
            return f"to_json({quote_time(name, type_)})::VARCHAR"
        if type_ == "BLOB":
            return "NULL::VARCHAR"
        return f"nullif(to_json({name})::VARCHAR, 'null')"

    def readings(self, columns: Iterable[str]) -> dict[str, str]:
        """Return how each column's values read as a whole: number, bool, time or text (CSV), any where they carry a type."""
        wanted = [c for c in dict.fromkeys(columns) if not c.startswith("=")]
        if self.format != "csv":
            return dict.fromkeys(wanted, "any")
        if not wanted:
            return {}
        asked = []
        for name in (f"c{self.names.index(column)}" for column in wanted):
            number, yes_or_no = f"regexp_full_match({name}, '{_NUMBER}')", f"lower({name}) IN ('true', 'false')"
            asked += [f"bool_and({test})" for test in (number, yes_or_no, f"regexp_full_match({name}, '{TIME_PATTERN}')")]
        answers = self.con.execute(f"SELECT {', '.join(asked)} FROM staged WHERE reason IS NULL").fetchone() or ()
        names = ("number", "bool", "time")
        return {
            column: next((name for name, yes in zip(names, answers[3 * i : 3 * i + 3], strict=True) if yes), "text")
            for i, column in enumerate(wanted)
        }

    def lines_of(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return the line in the file of each ``line`` of the table."""
        wanted = set(numbers)
        if self.exact or not wanted:
            return {n: n for n in wanted}
        last = max(wanted)
        found: dict[int, int] = {}
        with open_text(self.path, self.encoding) as file:
            for number, record in enumerate(csv_records(file, self.delimiter), 1):
                if number in wanted:
                    found[number] = record.line
                if number >= last:
                    break
        return found

    def _pointer(self, column: str) -> str:
        keys = [column] if column in self.names else column.split(".")
        return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def quote_time(name: str, type_: str) -> str:
    """Return SQL that writes a typed time column as text: a date, or an instant in UTC to the millisecond."""
    if type_ == "DATE":
        return f"strftime({name}, '%Y-%m-%d')"
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"strftime(make_timestamp(epoch_us({name})), '%Y-%m-%dT%H:%M:%S.%gZ')"
    return f"strftime({name}::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%gZ')"


def _fingerprint(path: Path) -> tuple[str, bool, int]:
    """Return a digest of the file, whether it is free of NUL bytes and byte order marks, and how many lines it has."""
    state = blake2b(digest_size=16)
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        head = file.read(4)
        plain = not head.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
        file.seek(0)
        plain = plain or path.suffix.lower() == ".parquet"
        while block := file.read(1 << 20):
            state.update(block)
            plain = plain and b"\0" not in block
            lines += block.count(b"\n")
            last = block[-1:]
    return state.hexdigest(), plain, lines + (last != b"\n")


def _open_csv(path: Path, encoding: str, delimiter: str | None) -> tuple[str, list[str]]:
    """Return the delimiter of a CSV file and the names of its columns."""
    with open_text(path, encoding) as file:
        first = file.readline(_LONGEST + 1)
    if len(first) > _LONGEST:
        raise InvalidInput(
            f"The first line of {path.name} has more than {_LONGEST:,} characters.", hint="It should name the columns, and end."
        )
    chosen = delimiter or ("\t" if path.suffix.lower() == ".tsv" else sniff_delimiter(first))
    with open_text(path, encoding) as file:
        return chosen, _header(path, next(csv_records(file, chosen), None))


def _header(path: Path, header: Record | None) -> list[str]:
    if header is None:
        raise InvalidInput(f"{path.name} is empty.", hint="The first line names the columns.")
    if header.reason is not None:
        raise InvalidInput(
            f"The header of {path.name} cannot be read: {header.reason}.", hint="Check the encoding and the delimiter."
        )
    if len(header.fields) > _MOST_COLUMNS:
        raise InvalidInput(
            f"{path.name} has {len(header.fields):,} columns; at most {_MOST_COLUMNS:,} are read.",
            hint="Leave out what is not needed.",
        )
    names = [name.strip() for name in header.fields]
    if "" in names:
        raise InvalidInput(
            f"Column {names.index('') + 1} of {path.name} has no name.", hint="Name every column in the first line."
        )
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"Two columns of {path.name} are called {double!r}.", hint="Rename one of them.")
    return names


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
