"""Law 3 with two processes on one database: both get on, and nothing is lost or doubled between them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from laws.test_crash import check_members
from tailorbird.engine import Engine

CHILD = Path(__file__).with_name("neighbour_child.py")
SEGMENTS = [
    {"kind": "segment", "name": "many", "when": "count(page.viewed, within 1d) >= 4"},
    {"kind": "segment", "name": "odd", "when": "count(page.viewed where n > 5) >= 9"},
]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_writers_at_once_both_get_on_and_nothing_is_lost_or_doubled(store_url: str, tmp_path: Path) -> None:
    with Engine.open(store_url) as engine:
        engine.apply(SEGMENTS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    logs = {name: tmp_path / name for name in ("x", "y")}
    children = [
        subprocess.Popen([sys.executable, str(CHILD), store_url, str(path), name, "3"], env=environment)
        for name, path in logs.items()
    ]
    try:
        assert [child.wait(120) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
    told = {name: [line.split() for line in path.read_text().splitlines()[1:]] for name, path in logs.items()}
    assert {status for lines in told.values() for _, status, _ in lines} == {"accepted"}
    assert min(len(lines) for lines in told.values()) >= 10, "neither holds up the other"
    with Engine.open(store_url) as engine:
        log = engine.log(limit=1_000_000)
        stored = Counter(event.id for event in log if event.type == "page.viewed")
        assert set(stored.values()) == {1}
        assert stored.keys() == {id_ for lines in told.values() for id_, _, _ in lines}
        assert len({event.seq for event in log}) == len(log)
        check_members(engine)
