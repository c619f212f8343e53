"""Reading damaged files record by record, with exact line numbers: what is whole goes on, what is not is reported."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from tailorbird.errors import InvalidInput

__all__ = ["Record", "csv_records", "json_lines", "open_text", "read_delimiter", "read_encoding", "sniff_delimiter"]

_MAX_RECORD: Final = 1_000_000  # characters; a longer record is a quote that was never closed, or not an event
_MAX_LINES: Final = 500  # lines in one record
_SURROGATE = re.compile("[\ud800-\udfff]")


class Record(NamedTuple):
    """One record of a file: the line it starts on, its fields, and why it cannot be used (then ``fields`` holds the raw text)."""

    line: int
    fields: list[str]
    reason: str | None


def read_encoding(path: Path, encoding: str) -> str:
    """Return the encoding to read a file with: as told, but UTF-16 where its first bytes say so; raise ``InvalidInput``."""
    try:
        "a".encode(encoding)
    except (LookupError, ValueError):
        raise InvalidInput(f"encoding {encoding!r:.40} is not known.", hint="Such as utf-8, latin-1 or cp1252.") from None
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        with path.open("rb") as file:
            if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                return "utf-16"
    return encoding


def read_delimiter(delimiter: str | None) -> str | None:
    """Return what stands between columns; raise ``InvalidInput`` where it cannot."""
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise InvalidInput(f"delimiter {delimiter!r:.40} is not a single character that can stand between columns.")
    return delimiter


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a file so that bytes its encoding does not know become lone surrogates, which mark the record as broken."""
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    return path.open(encoding=encoding, errors="surrogateescape", newline="")


def sniff_delimiter(header: str) -> str:
    """Return the delimiter that the header line uses most: comma, semicolon, tab or bar.

    >>> sniff_delimiter("id;name;mail, work")
    ';'
    """
    return max(",;\t|", key=header.count)


def csv_records(file: TextIO, delimiter: str) -> Iterator[Record]:
    """Yield the records of a CSV file, the header first; blank lines are skipped.

    Records may span lines inside quotes. A quote that is never closed costs one line, not the rest of the file.
    """
    pending: list[str] = []
    number = 1
    while True:
        line = pending.pop(0) if pending else _read_line(file)
        if not line:
            return
        lines = [line]
        if line.count('"') % 2:
            _until_closed(lines, pending, file)
        record, used = _parse(lines, delimiter)
        pending[:0] = lines[used:]
        if record is not None:
            yield Record(number, *record)
        number += used


def _read_line(file: TextIO) -> str:
    """Return the next line; of one that is longer than a record may be only so much that it is refused, the rest unread."""
    line = file.readline(_MAX_RECORD + 1)
    if len(line) > _MAX_RECORD and not line.endswith("\n"):
        while (rest := file.readline(_MAX_RECORD)) and not rest.endswith("\n"):
            pass
    return line


def _until_closed(lines: list[str], pending: list[str], file: TextIO) -> None:
    size = len(lines[0])
    while len(lines) < _MAX_LINES and size < _MAX_RECORD:
        more = pending.pop(0) if pending else _read_line(file)
        if not more:
            return
        lines.append(more)
        size += len(more)
        if more.count('"') % 2:
            return


def _parse(lines: list[str], delimiter: str) -> tuple[tuple[list[str], str | None] | None, int]:
    """Return the record at the head of the lines and how many lines it took; None for a blank one."""
    for count in (len(lines), 1):  # a lone quote inside a field makes one line look like many
        text = "".join(lines[:count])
        if len(text) > _MAX_RECORD:
            continue
        try:
            fields = next(csv.reader([text], delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        if not fields or (count == 1 and not text.strip()):
            return None, count
        return (fields, _unusable(text)), count
    return (
        [lines[0].rstrip("\r\n")[:1000]],
        "a quote is not closed or stands where none may stand, or the record is too long",
    ), 1


def json_lines(file: TextIO) -> Iterator[Record]:
    """Yield the lines of a JSONL file that are not blank; whether each is JSON is for the caller to see."""
    for number, line in enumerate(file, 1):
        text = line.strip()
        if not text:
            continue
        reason = _unusable(text)
        if len(text) > _MAX_RECORD:
            text, reason = text[:1000], f"the line is longer than {_MAX_RECORD:,} characters"
        elif any(ord(c) < 32 and c != "\t" for c in text):
            reason = reason or "the line holds control characters"
        yield Record(number, [text], reason)


def _unusable(text: str) -> str | None:
    if "\0" in text:
        return "it holds a NUL character"
    if not text.isascii() and _SURROGATE.search(text):
        return "it is not valid in the encoding of the file"
    return None
