"""The OpenAPI is complete and true: a tester that only knows it finds nothing that contradicts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.conftest import Live
from tailorbird.api.guard import scope_of
from tailorbird.api.security import Keyring

TESTER = str(Path(sys.executable).with_name("schemathesis"))


def schema(live: Live) -> dict[str, Any]:
    found: dict[str, Any] = live.get("/openapi.json")
    return found


def test_every_reference_leads_to_a_component(live: Live) -> None:
    document = schema(live)
    names = set(document["components"]["schemas"])

    def walk(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(walk(item) for item in value.values()))
        return set().union(*(walk(item) for item in value)) if isinstance(value, list) else set()

    assert walk(document) <= names


def test_every_operation_has_a_name_a_summary_a_scope_and_its_refusals(live: Live) -> None:
    names = set()
    for path, methods in schema(live)["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] not in names, path
            names.add(operation["operationId"])
            assert operation["summary"] and operation["tags"] and operation["description"], (method, path)
            assert operation.get("x-scope") == scope_of(method.upper(), path)
            assert {"401", "403"} <= set(operation["responses"]), (method, path)
    assert {"track", "batch", "take_events", "read_features"} <= names


def test_the_short_path_serves_what_the_openapi_says(live: Live) -> None:
    document = schema(live)
    for call in ("track", "identify", "page", "screen", "group", "alias", "batch"):
        assert f"/v1/{call}" in document["paths"]


@pytest.mark.slow
def test_schemathesis_finds_nothing(shop: Live, tmp_path: Path) -> None:
    shop.post("/v1/identify", {"userId": "ann", "traits": {"plan": "pro"}})
    key = Keyring(shop.engine.store).create("tester", ["admin"], shop.engine.now())
    shop.wait_for_keys()
    # Which texts are expressions, names and identifiers no schema can say: what is well formed may still be refused.
    options = ["--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing", "-n", "3", "--seed", "1"]
    command = [TESTER, "run", f"{shop.url}/openapi.json", "-H", f"Authorization: Bearer {key}", "--continue-on-failure", *options]
    surroundings = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280, env=surroundings, check=False)
    assert done.returncode == 0, done.stdout.partition("= FAILURES =")[2][:6000] + done.stderr[-2000:]
    assert "fault" not in shop.log.getvalue(), shop.log.getvalue()[-3000:]
