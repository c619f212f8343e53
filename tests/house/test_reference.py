"""The reference pages name everything there is: every route, every error code, every setting."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from tailorbird.api import bodies, security  # noqa: F401  they have error classes of their own
from tailorbird.api.app import create_app
from tailorbird.api.guard import scope_of
from tailorbird.errors import TailorbirdError
from tailorbird.settings import PREFIX, Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_every_route_is_in_the_reference_with_its_scope_and_nothing_else() -> None:
    page = (REFERENCE / "http.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| (GET|POST|PUT|PATCH|DELETE) \| `([^`]+)` \| (\S+) \|", page, re.MULTILINE))
    app = create_app(":memory:")
    paths = app.openapi()["paths"]
    there = {(m.upper(), path, scope_of(m.upper(), path) or "–") for path, methods in paths.items() for m in methods}
    app.close()
    assert told == there


def test_every_error_code_is_in_the_reference_with_its_status() -> None:
    page = (REFERENCE / "http.md").read_text(encoding="utf-8")
    found: list[type[TailorbirdError]] = [TailorbirdError]
    for kind in found:
        found += [k for k in kind.__subclasses__() if k.__module__.startswith("tailorbird.")]
    missing = {f"| {k.status} | `{k.code}` |" for k in found if f"| {k.status} | `{k.code}` |" not in page}
    assert not missing


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    page = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    told = dict(re.findall(rf"^\| `{PREFIX}(\w+)` \|(?: `([^`]*)`)? \|", page, re.MULTILINE))
    there = {f.name.upper(): str(f.default_factory()) for f in fields(Settings)}  # type: ignore[misc]
    assert {k: v.strip() for k, v in told.items()} == {k: v.lower() if v in ("True", "False") else v for k, v in there.items()}
