"""Requests we send to Zoho, and answers of its simulator, are as Zoho's own OpenAPI documents say.

The documents are Zoho's and are not part of this repository: ``TAILORBIRD_SPECS`` names the folder that holds ``zoho/``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from simulated import served
from tailorbird.connectors.rest import Retry, bearer_auth
from tailorbird.connectors.zoho import ZohoConnector
from tailorbird.crm.model import Activity, Row
from tailorbird.crm.port import Filters
from tailorbird.simulators import ZohoSimulator
from tailorbird.simulators.base import Reply, Request

FOLDER = Path(os.environ.get("TAILORBIRD_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "zoho"
NAMES = ("record", "module-search", "coql", "notes", "notifications")

pytestmark = pytest.mark.skipif(
    not all((FOLDER / f"{name}.json").exists() for name in NAMES),
    reason="Zoho's documents are not there; name their folder's folder with TAILORBIRD_SPECS",
)


class Recorded(ZohoSimulator):
    """The simulator, which keeps what came in and what went out, as it was then."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.exchanged: list[tuple[Request, int, bytes]] = []

    def reply(self, request: Request) -> Reply:
        answer = super().reply(request)
        self.exchanged.append((request, answer.status, json.dumps(answer.body).encode()))
        return answer


@pytest.fixture(scope="module")
def apis() -> dict[str, OpenAPI]:
    return {name: OpenAPI.from_dict(read(name)) for name in NAMES}


def read(name: str) -> Any:
    """Return a document without what it says of security: its scheme of OAuth is one that openapi-core cannot check."""
    found = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found.pop("security", None)
    for operations in found["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    return found


def document(request: Request) -> str | None:
    """Return which document describes a request; None for what no document that we hold does."""
    path = request.path.removeprefix("/crm/v8/").split("/")
    if path[0] in ("users", "settings") or "Notes" in path[1:] or path[-1] in ("add_tags", "remove_tags"):
        return None
    if path[0] == "actions":
        return None if request.method == "PATCH" else "notifications"
    return (
        "coql" if path[0] == "coql" else "notes" if path[0] == "Notes" else "module-search" if path[-1] == "search" else "record"
    )


def documented(raw: bytes) -> bytes:
    """Return an answer without the two words of upserts that Zoho sends and its document leaves out."""
    body = json.loads(raw)
    for row in body.get("data") or () if isinstance(body, dict) else ():
        row.pop("action", None)
        row.pop("duplicate_field", None)
    return json.dumps(body).encode()


def mock(request: Request) -> MockRequest:
    body = None if request.body is None else json.dumps(request.body).encode()
    return MockRequest(
        "https://zohoapis.com", request.method.lower(), request.path, args=dict(request.query), headers=request.headers, data=body,
        content_type=request.headers.get("content-type", ""),
    )  # fmt: skip


def test_requests_and_answers_are_as_the_documents_say(apis: dict[str, OpenAPI]) -> None:
    app = Recorded(people=3)
    with served(app) as url:
        auth = bearer_auth(app.key, scheme="Zoho-oauthtoken")
        crm = ZohoConnector("zoho", url, auth=auth, webhook_secret="t0ken", retry=Retry(tries=1), sleep=lambda _: None)
        values: dict[str, Any] = {"email": "ann@zoho.example", "last_name": "Lee", "city": "Oslo", "tags": ["hot"]}
        id = crm.create(Row(key="k", values=values)).id or ""
        crm.update(Row(key="u", id=id, values={"title": "CEO"}))
        crm.upsert_many([Row(key="m", values=values, match={"email": "ann@zoho.example"})])
        crm.find(email="ann@zoho.example")
        crm.query(Filters(equals={"city": "Oslo"}))
        page = crm.changes(None)
        while page.more:
            page = crm.changes(page.cursor)
        app.delete(crm.create(Row(key="g", values={"last_name": "Gone"})).id or "")
        while (page := crm.changes(page.cursor)).more:
            pass
        sent = [
            Activity(key=kind, kind=kind, record=id, at=1_800_000_000_000, body="b")
            for kind in ("note", "task", "call", "meeting")
        ]
        crm.log_activities(sent)
        assert crm.get(id) is not None
        assert crm.get("999") is None
        crm.unsubscribe(crm.subscribe("https://us.example/hook"))
        crm.close()
    seen = set()
    for request, status, raw in app.exchanged:
        name = document(request)
        if name is None:
            continue
        told = mock(request)
        apis[name].validate_request(told)
        if status not in (204, 304):
            apis[name].validate_response(told, MockResponse(documented(raw), status_code=status, content_type="application/json"))
            seen.add((request.method, name))
    assert seen >= {
        ("GET", "record"), ("POST", "record"), ("PUT", "record"), ("GET", "module-search"), ("POST", "coql"), ("POST", "notes"),
        ("POST", "notifications"), ("DELETE", "notifications"),
    }  # fmt: skip


def test_a_request_that_no_document_knows_is_noticed(apis: dict[str, OpenAPI]) -> None:
    with pytest.raises(OpenAPIError):
        apis["record"].validate_request(mock(Request("POST", "/crm/v8/Contacts", {}, {"content-type": "application/json"}, {})))
