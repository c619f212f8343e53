"""How a benchmark reports: a table for people, JSON for machines, and the machine it ran on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def report(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], **facts: Any) -> Mapping[str, Any]:
    """Print the rows as a table and write them to ``bench/results/<name>.json``; return what was written."""
    texts = [[str(c) for c in columns], *([_text(v) for v in row] for row in rows)]
    widths = [max(len(line[i]) for line in texts) for i in range(len(columns))]
    for number, line in enumerate(texts):
        print("  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * w for w in widths))
    result = {
        "benchmark": name,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        **facts,
        "rows": [dict(zip(columns, row, strict=True)) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1, default=str) + "\n")
    return result


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
