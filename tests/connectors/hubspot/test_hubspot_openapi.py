"""Every request we send to HubSpot, and every answer of its simulator, is as HubSpot's own OpenAPI documents say.

They are HubSpot's and not part of this repository: ``TAILORBIRD_SPECS`` names the folder that holds ``hubspot/``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from simulated import served
from tailorbird.connectors.hubspot import HubspotConnector
from tailorbird.connectors.rest import RemoteError, Retry, bearer_auth
from tailorbird.core.context import ManualClock
from tailorbird.crm.model import Activity, Row
from tailorbird.crm.port import Filters
from tailorbird.simulators import HubspotSimulator
from tailorbird.simulators.base import Reply, Request

FOLDER = Path(os.environ.get("TAILORBIRD_SPECS") or Path(__file__).parents[4] / "shared" / "specs") / "hubspot"
DOCUMENTS = {
    "/crm/v3/objects/contacts": "crm.objects.contacts.v3", "/crm/v3/lists": "crm.lists.v3", "/crm/v3/owners": "crm.owners.v3",
    "/crm/v3/properties": "crm.properties.v3", "/crm/v4/associations": "crm.associations.v4", "/webhooks": "webhooks",
    "/communication-preferences": "marketing.subscriptions.v4",
    **{f"/crm/v3/objects/{kind}": f"crm.engagements.{kind}.v3" for kind in (
        "notes", "emails", "calls", "communications", "tasks", "meetings",
    )},
}  # fmt: skip
UNDOCUMENTED = "/account-info"
"""No document of it is held."""

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="HubSpot's documents are not there; name their folder's folder with TAILORBIRD_SPECS"
)
T0 = 1_800_000_000_000


class Recorded(HubspotSimulator):
    """The simulator, which keeps what came in and what went out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.exchanged: list[tuple[Request, Reply]] = []

    def reply(self, request: Request) -> Reply:
        answer = super().reply(request)
        self.exchanged.append((request, answer))
        return answer


@pytest.fixture(scope="module")
def documents() -> dict[str, OpenAPI]:
    found = {}
    for start, name in DOCUMENTS.items():
        told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        found[start] = OpenAPI.from_dict(told)
    return found


@pytest.fixture
def app() -> Iterator[Recorded]:
    clock = ManualClock(T0)
    yield Recorded(clock=lambda: clock.now() / 1000, people=120, limits={}, hook_url="")


def check(documents: dict[str, OpenAPI], request: Request, reply: Reply) -> None:
    """Validate a request and its answer against the document that tells of it."""
    start = max((one for one in documents if request.path.startswith(one)), key=len)
    api = documents[start]
    sent = MockRequest(
        "https://api.hubapi.com", request.method.lower(), request.path, args=dict(request.query), headers=request.headers,
        data=None if request.body is None else json.dumps(request.body).encode(), content_type="application/json",
    )  # fmt: skip
    api.validate_request(sent)
    if reply.status != 204:  # nothing is answered, of no type
        raw = json.dumps(reply.body).encode()
        api.validate_response(sent, MockResponse(raw, status_code=reply.status, content_type="application/json"))
    declared = declaration(api, request)
    assert set(request.query) <= {one["name"] for one in declared.get("parameters", [])} | {"hapikey"}, request.path
    assert str(reply.status) in declared["responses"] or reply.status >= 400, (request.method, request.path, reply.status)
    unknown = set(request.body or ()) - properties_of(api, declared) if isinstance(request.body, dict) else set()
    assert not unknown, (request.path, unknown)


def declaration(api: OpenAPI, request: Request) -> Any:
    for path, methods in api.spec["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", path), request.path) and request.method.lower() in methods:
            return json.loads(json.dumps(methods[request.method.lower()].read_value(), default=str))
    raise AssertionError(f"{request.method} {request.path} is in no document")


def properties_of(api: OpenAPI, declared: Any) -> set[str]:
    schema = declared["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in schema:
        schema = api.spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]].read_value()
    return set(schema["properties"])


def exercise(connector: HubspotConnector, app: HubspotSimulator) -> None:
    """Do everything that the port can."""
    connector.test()
    ann = connector.create(Row(key="a", values={"email": "ann@x.example", "first_name": "Ann", "tags": ["new tag"]})).id or ""
    connector.update(Row(key="b", id=ann, values={"title": "CEO", "tags": ["other"]}), lists="merge")
    with pytest.raises(RemoteError):
        connector.create(Row(key="c", values={"email": "ann@x.example"}))
    with pytest.raises(RemoteError):
        connector.update(Row(key="d", id=ann, values={"nonsense": "x"}))
    many = [Row(key=f"m{n}", values={"city": "Oslo"}, match={"email": f"m{n}@x.example"}) for n in range(103)]
    many += [Row(key="bad", values={"status": "NONSENSE"}, match={"email": "bad@x.example"}), Row(key="i", id=ann, values={})]
    assert [one.key for one in connector.upsert_many(many) if one.error] == ["bad"]
    connector.get("999999")
    found = connector.find(email="ANN@x.example", phone="+14152000003")
    assert [one.id for one in found] == [ann, "104"]
    connector.search("ann")
    connector.query(Filters(equals={"city": "Oslo"}, contains={"tags": ("vip",)}, before={"last_service_date": T0}))
    page = connector.changes(None)
    while page.more:
        page = connector.changes(page.cursor)
    connector.changes(page.cursor)
    connector.fields()
    at = T0 - 1_000
    kinds = connector.capabilities.activities
    extras = {"phone": "+1", "duration": 60, "to": "ann@x.example", "url": "https://x.example"}
    logged = connector.log_activities(
        [Activity(key=k, kind=k, record=ann, at=at, subject="s", body="<b>", data=extras) for k in kinds]
        + [Activity(key="nobody", kind="note", record="999999", at=at)]
    )
    assert [one.key for one in logged if one.error] == ["nobody"]
    record = connector.get(ann)
    assert record is not None
    connector.set_consent(record, "email", True)
    connector.set_consent(record, "email", False)
    connector.set_consent(record, "email", False, purpose="Marketing Information")
    connector.set_members("VIP & more", adding=[ann, "999999"])
    connector.set_members("VIP & more", removing=[ann])
    subscribed = connector.subscribe("https://us.example/hook")
    assert connector.subscribe("https://us.example/hook") == subscribed
    connector.unsubscribe(subscribed)
    connector.unsubscribe(subscribed)
    assert not app.subscriptions


@pytest.mark.parametrize("trouble", ["", "limit", "revoked"])
def test_every_request_and_every_answer_is_as_the_documents_say(
    documents: dict[str, OpenAPI], app: Recorded, trouble: str
) -> None:
    with served(app) as url:
        connector = HubspotConnector(
            auth=bearer_auth("simulated"), clock=ManualClock(T0), url=url, webhook_secret="s", developer_key="simulated",
            app_id="7", tags_property="tailorbird_tags", retry=Retry(tries=1), requests_per_ten_seconds=100_000,
            searches_per_second=10_000, sleep=lambda _: None,
        )  # fmt: skip
        if trouble:
            app.limits = {"ten_seconds": 0} if trouble == "limit" else {}
            app.revoked = trouble == "revoked"
            with pytest.raises(RemoteError):
                connector.changes(None)
            with pytest.raises(RemoteError):
                connector.create(Row(key="a", values={"email": "ann@x.example"}))
        else:
            exercise(connector, app)
        connector.close()
    seen = [(request, reply) for request, reply in app.exchanged if not request.path.startswith(UNDOCUMENTED)]
    assert len(seen) >= (1 if trouble else 40)
    for request, reply in seen:
        check(documents, request, reply)


def test_a_request_that_the_documents_do_not_know_is_noticed(documents: dict[str, OpenAPI]) -> None:
    wrong = Request("POST", "/crm/v3/objects/contacts/batch/upsert", {}, {"content-type": "application/json"}, {"rows": []})
    with pytest.raises((OpenAPIError, AssertionError)):
        check(documents, wrong, Reply(200, {}))
