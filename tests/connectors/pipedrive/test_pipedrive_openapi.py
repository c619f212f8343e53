"""Every request we send to Pipedrive, and every answer of its simulator, is as Pipedrive's own OpenAPI says, in both generations.

The documents are Pipedrive's and are not part of this repository: ``TAILORBIRD_SPECS`` names the folder that holds ``pipedrive/``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from simulated import served
from tailorbird.connectors.pipedrive import PipedriveConnector
from tailorbird.connectors.rest import AuthExpired, Retry, StaticAuth
from tailorbird.core.context import SystemClock
from tailorbird.crm.model import Activity, Row
from tailorbird.crm.port import Filters
from tailorbird.simulators import PipedriveSimulator
from tailorbird.simulators.base import Reply, Request

FOLDER = Path(os.environ.get("TAILORBIRD_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "pipedrive"
DOCUMENTS = {
    "v1": FOLDER / "v1-notes-leads-webhooks.nullable-responses.json",
    "v2": FOLDER / "v2-persons-activities.nullable-responses.json",
}
SERVERS = {"v1": "/v1", "v2": "/api/v2"}

pytestmark = pytest.mark.skipif(
    not all(document.exists() for document in DOCUMENTS.values()),
    reason="Pipedrive's documents are not there; name their folder's folder with TAILORBIRD_SPECS",
)


class Recorded(PipedriveSimulator):
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
    return {name: OpenAPI.from_dict(json.loads(document.read_text(encoding="utf-8"))) for name, document in DOCUMENTS.items()}


def mock(request: Request) -> tuple[str, str, MockRequest]:
    """Return the generation, the path below it, and the request as the vendor's own host would get it."""
    generation, _, rest = request.path.removeprefix("/api").strip("/").partition("/")
    path = f"/{rest}"
    sent = MockRequest(
        "https://api.pipedrive.com", request.method.lower(), SERVERS[generation] + path, args=dict(request.query),
        headers=request.headers, data=None if request.body is None else json.dumps(request.body).encode(),
        content_type=request.headers.get("content-type", ""),
    )  # fmt: skip
    return generation, path, sent


def declared(api: OpenAPI, path: str, method: str) -> Any:
    """Return what the document says of an operation, whichever of its paths fits."""
    parts = path.strip("/").split("/")
    for template in sorted(api.spec["paths"].keys(), key=lambda one: one.count("{")):
        steps = template.strip("/").split("/")
        if len(steps) == len(parts) and all(s.startswith("{") or s == p for s, p in zip(steps, parts, strict=True)):
            return api.spec["paths"][template][method.lower()]
    raise AssertionError(f"{path} is not in the document")


def test_every_request_and_every_answer_is_as_the_documents_say(apis: dict[str, OpenAPI]) -> None:
    app = Recorded(people=12)
    with served(app) as url:
        crm = PipedriveConnector(
            auth=StaticAuth({"x-api-token": "simulated"}), clock=SystemClock(), url=url, webhook_secret="hush", campaigns=True,
            per_second=1_000, retry=Retry(tries=1),
        )  # fmt: skip
        crm.test()
        crm.fields()
        values: dict[str, Any] = {
            "email": "ann@pipe.example", "first_name": "Ann", "last_name": "Lee", "phone": "+14155550100", "title": "CEO",
            "tags": ["hot"], "city": "Oslo", "owner": "1",
        }  # fmt: skip
        id = crm.create(Row(key="k", values=values)).id
        assert id
        crm.upsert_many(
            [Row(key="u", values=values, match={"email": "ann@pipe.example", "phone": "+14155550100"})], lists="merge"
        )
        crm.search("ann")
        page = crm.changes(None, limit=5)
        page = crm.changes(page.cursor)
        crm.changes(page.cursor)
        crm.query(Filters(equals={"owner": "1"}, changed_since=1_700_000_000_000), limit=3)
        record = crm.get(id)
        assert record is not None
        crm.set_consent(record, "email", False)
        crm.set_members("vip", adding=[id])
        crm.set_members("vip", removing=[id])
        at = 1_800_000_000_000
        sent = [Activity(key=k, kind=k, record=id, at=at, data={"duration": 90}) for k in crm.capabilities.activities]
        crm.log_activities(sent)
        assert all(one.found for one in crm.log_activities(sent))
        crm.unsubscribe(crm.subscribe("https://us.example/hook"))
        app.revoked = True
        with pytest.raises(AuthExpired):
            crm.test()
        crm.close()
    seen = set()
    for request, status, raw in app.exchanged:
        generation, path, told = mock(request)
        api = apis[generation]
        api.validate_request(told)
        operation = declared(api, path, request.method)
        assert set(request.query) <= {item["name"] for item in operation.get("parameters", [])}, request.query
        if str(status) in operation["responses"]:
            api.validate_response(told, MockResponse(raw, status_code=status, content_type="application/json"))
            seen.add((request.method, generation, path.split("/")[1]))
        if request.method in ("POST", "PATCH") and isinstance(request.body, dict) and generation == "v2":
            known = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
            assert set(request.body) <= set(known.keys())
    assert {("GET", "v1", "notes"), ("POST", "v1", "webhooks"), ("PATCH", "v2", "persons"), ("POST", "v2", "activities")} <= seen


def test_a_request_that_the_document_does_not_know_is_noticed(apis: dict[str, OpenAPI]) -> None:
    from openapi_core.exceptions import OpenAPIError

    wrong = Request("GET", "/api/v2/persons", {"limit": "many"}, {"x-api-token": "k"}, None)
    with pytest.raises(OpenAPIError):
        apis["v2"].validate_request(mock(wrong)[2])
