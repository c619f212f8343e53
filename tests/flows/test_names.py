"""One rule for the type and the id of an event, whichever way it comes in: printable ASCII."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.conftest import Live, running
from tailorbird.core.event import is_name
from tailorbird.engine import Engine
from tailorbird.errors import InvalidDefinition, InvalidEvent

GOOD = ("order.placed", "Order Completed", "a", "~", "!x y", "x" * 200)
BAD = ("commandé", "paid ", "", " ", "tab\tbed", "line\n", "del\x7f", "x" * 201, "☂", "a\u00a0b", "nul\0")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with Engine.open(str(tmp_path / "tailorbird.db")) as engine, running(engine) as opened:
        yield opened


@pytest.mark.parametrize("field", ["type", "id"])
@pytest.mark.parametrize("name", [*GOOD, *BAD])
def test_every_way_in_takes_the_same_types_and_ids(live: Live, tmp_path: Path, field: str, name: str) -> None:
    assert is_name(name) is (name in GOOD)
    plain = {"type": "a", "id": "1", field: name}
    data = {"note": "naïve"}  # what is not flat and ASCII takes the longer path of the checks
    taken = {}
    for way, facts in (("python", {}), ("python, longer", data)):
        try:
            live.engine.track(plain["type"], profile="ann", id=f"{way}{plain['id']}" if field == "type" else plain["id"], **facts)
            taken[way] = True
        except InvalidEvent:
            taken[way] = False
    sent = {"type": plain["type"], "id": plain["id"] if field == "id" else "http", "profile": "ann"}
    for way, event in (("http", sent), ("http, longer", {**sent, "data": data})):
        taken[way] = live.post("/api/v1/events", event).status_code == 200
    if name or field == "type":  # a client that has no id for a message sends an empty one
        call = {"event": plain["type"], "messageId": plain["id"] if field == "id" else "segment", "userId": "ann"}
        taken["segment"] = live.post("/v1/track", call).status_code == 200
    if name or field == "type":
        file = tmp_path / "events.jsonl"
        row = {"type": plain["type"], "id": plain["id"] if field == "id" else "file", "who": "ann", "at": "2025-01-01"}
        file.write_text(json.dumps(row) + "\n")
        report = live.engine.import_events(file, {"external_id": "who", "at": "at", "type": "type", "id": "id"})
        taken["import"] = report.rejected == 0
    if field == "type" and name != name.strip():
        taken.pop("import")  # spaces around what stands in a cell of a file mean nothing
    if field == "type":
        try:
            live.engine.check(
                {"kind": "subscription", "name": "s", "events": [name], "url": "https://example.com/", "secret_env": "S"}
            )
            taken["definition"] = True
        except InvalidDefinition:
            taken["definition"] = False
    assert set(taken.values()) == {name in GOOD}, taken


def test_ids_of_our_own_cannot_be_taken_by_a_file(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("id,who,at\ntb:1,ann,2025-01-01\nmine,ann,2025-01-01\n")
    report = live.engine.import_events(file, {"external_id": "who", "at": "at", "type": "=a", "id": "id"})
    assert (report.loaded, report.rejected) == (1, 1)
    assert report.reasons == {"ids such as this are given by Tailorbird itself": 1}
