"""What an import did or would do, and the file that rejected rows are written to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tailorbird.runtime.imports.stage import Staged

__all__ = ["Report", "write_rejected"]


class Report(msgspec.Struct, kw_only=True):
    """The outcome of an import; a dry run fills the same fields with what would happen (``loaded`` is what is acceptable).

    ``readings`` says how each property's values are read, ``first`` shows a few rows as they were understood, ``reasons``
    counts rejected rows. ``joined`` is how many rows joined people and were taken one by one. ``resumed`` tells that an earlier,
    interrupted import of the same file was continued; ``already`` that this file was imported before. ``touched`` is
    whether stored histories changed: caches must go.
    """

    file: str
    format: str
    mapping: dict[str, Any]
    readings: dict[str, str] = {}
    rows: int = 0
    loaded: int = 0
    duplicates: int = 0
    rejected: int = 0
    created: int = 0
    joined: int = 0
    reasons: dict[str, int] = {}
    rejected_path: str | None = None
    first: list[dict[str, Any]] = []
    dry_run: bool = False
    resumed: bool = False
    already: bool = False
    touched: bool = False


def write_rejected(staged: Staged, path: Path | None) -> tuple[int, dict[str, int]]:
    """Write every rejected row (the table ``rejected`` and what could not be read) with line and reason; return count, reasons.

    With no path nothing is written. Reasons are counted without the values they quote.
    """
    reasons: Counter[str] = Counter()
    found = staged.con.execute("SELECT line, reason FROM rejected ORDER BY line").fetchall()
    for _, reason in found:
        reasons[_general(reason)] += 1
    for record in staged.broken:
        reasons[_general(record.reason or "")] += 1
    count = len(found) + len(staged.broken)
    if path is not None:
        if count:
            _write(staged, path)
        else:
            path.unlink(missing_ok=True)
    return count, dict(reasons.most_common())


def _write(staged: Staged, path: Path) -> None:
    columns = ["text"] if staged.format == "jsonl" else [f"c{i}::VARCHAR" for i in range(len(staged.names))]
    rows = staged.con.execute(
        f"SELECT r.line, r.reason, {', '.join('s.' + c for c in columns)} FROM rejected r JOIN staged s USING (line) ORDER BY line"
    ).fetchall()
    lines = staged.lines_of(row[0] for row in rows)
    entries: list[tuple[int, str, Mapping[str, Any]]] = [
        (
            lines.get(number, number),
            reason,
            {"text": values[0]} if staged.format == "jsonl" else dict(zip(staged.names, values, strict=True)),
        )
        for number, reason, *values in rows
    ]
    entries += [(r.line, r.reason or "", {"text": staged.delimiter.join(r.fields)[:1000]}) for r in staged.broken]
    entries.sort(key=lambda entry: entry[0])
    with path.open("w", encoding="utf-8", errors="backslashreplace") as out:
        for line, reason, row in entries:
            out.write(json.dumps({"line": line, "reason": reason, "row": row}, ensure_ascii=False) + "\n")


def _general(reason: str) -> str:
    """Return a reason without what it quotes, so that like ones are counted together."""
    return reason.split(": ", maxsplit=1)[0].split(" '", maxsplit=1)[0][:120]
