"""Killed anywhere between a CRM and our record of it: nothing is lost, nothing doubled, and both sides agree in the end."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from laws.sync_child import PEOPLE, T0, FiledCrm
from tailorbird.core.context import ManualClock
from tailorbird.crm.model import Record
from tailorbird.engine import Engine

CHILD = Path(__file__).with_name("sync_child.py")


def run(url: str, path: Path, when: str) -> int:
    command = [sys.executable, str(CHILD), url, str(path), when]
    return subprocess.run(command, check=False, timeout=120, capture_output=True).returncode


@pytest.mark.parametrize("whens", [["write 1", "write 1", "write 2"], ["page 40", "page 300", "page 900", "write 2"]])
def test_a_kill_between_the_crm_and_our_record_loses_and_doubles_nothing(tmp_path: Path, whens: list[str]) -> None:
    url, path = str(tmp_path / "tailorbird.db"), tmp_path / "crm.json"
    crm = FiledCrm(path, "never", ManualClock(T0))
    for number in range(PEOPLE):
        crm._put(Record(id=str(number + 1), email=f"p{number}@example.org", first_name=f"N{number}", tags=("a",)))
    crm.save()
    killed = [run(url, path, when) for when in whens]
    assert killed[0] == -9
    assert run(url, path, "never") == 0
    crm = FiledCrm(path, "never", ManualClock(T0 + 40_000))
    with Engine.open(url, clock=crm.clock, connectors={}, crm={"memory": crm}) as engine:
        emails = Counter(record.email for record in crm.records.values())
        assert set(emails.values()) == {1}
        assert len(emails) == PEOPLE + 150
        assert sum(record.city == "Paris" for record in crm.records.values()) == 150
        assert engine.store.count_profiles() == PEOPLE + 150
        ids = Counter(event.id for event in engine.log(limit=1_000_000))
        assert max(ids.values()) == 1
        tags = Counter(event.profile for event in engine.log(limit=1_000_000) if event.type == "tag.added")
        assert set(tags.values()) == {1}
        before = len(engine.log(limit=1_000_000))
        assert engine.sync.pull("memory", full=True).changed == 0
        assert engine.sync.push("memory", create=True).rows == []
        assert len(engine.log(limit=1_000_000)) == before
