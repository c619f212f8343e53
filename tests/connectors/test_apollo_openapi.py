"""Every request we send to Apollo, and every answer of its simulator, is as Apollo's own OpenAPI says.

The document is Apollo's and is not part of this repository: ``TAILORBIRD_SPECS`` names the folder that holds ``apollo/``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from simulated import WIDE, served
from tailorbird.connectors.apollo import ApolloConnector
from tailorbird.connectors.rest import Retry
from tailorbird.core.action import Action
from tailorbird.simulators import ApolloSimulator
from tailorbird.simulators.base import Reply, Request

FOLDER = Path(os.environ.get("TAILORBIRD_SPECS") or Path(__file__).parents[3] / "shared" / "specs")
DOCUMENT = FOLDER / "apollo" / "people-enrichment.subset.json"

pytestmark = pytest.mark.skipif(
    not DOCUMENT.exists(), reason=f"{DOCUMENT.name} is not there; name its folder's folder with TAILORBIRD_SPECS"
)


class Recorded(ApolloSimulator):
    """The simulator, which keeps what came in and what went out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.exchanged: list[tuple[Request, Reply]] = []

    def reply(self, request: Request) -> Reply:
        answer = super().reply(request)
        self.exchanged.append((request, answer))
        return answer


@pytest.fixture(scope="module")
def api() -> OpenAPI:
    return OpenAPI.from_dict(json.loads(DOCUMENT.read_text(encoding="utf-8")))


@pytest.fixture
def simulator() -> Iterator[Recorded]:
    yield Recorded(unknown=0.3, seed=3)


def ask(place: int, **options: Any) -> Action:
    question = {
        "email": f"ann{place}@shop.example", "first_name": "Ann", "last_name": "Lee", "company": "Shop", "domain": "shop.example",
        "linkedin_url": "https://linkedin.com/in/ann", "phone": "+33600000000", "country": "FR",
    }  # fmt: skip
    run = {"id": "r", "definition": "contacts", "at": 0, "given": {}}
    payload = {
        "provider": "apollo", "question": question, "question_digest": str(place), "take": ["title"], "over": {}, "run": run,
        "limits": WIDE, "options": options, "verifies": True,
    }  # fmt: skip
    return Action(key=f"k{place}", kind="person.enrich", connector="apollo", payload=payload)


def mock(request: Request) -> MockRequest:
    return MockRequest(
        "https://api.apollo.io", request.method.lower(), "/api/v1/" + request.path.removeprefix("/api/v1/"),
        args=dict(request.query), headers=request.headers, data=None if request.body is None else json.dumps(request.body).encode(),
        content_type=request.headers.get("content-type", ""),
    )  # fmt: skip


def somebody(body: Any) -> Any:
    """Return an answer without those nobody was found for: the document's schemas leave out the null that its text tells of."""
    if isinstance(body, dict):
        return {
            name: [item for item in value if item is not None] if name == "matches" else value
            for name, value in body.items()
            if not (value is None and name in ("person", "error_code", "error_message"))
        }
    return body


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("options", [{}, {"reveal_phone_number": True, "reveal_personal_emails": True}])
@pytest.mark.parametrize("trouble", ["", "revoked", "limit", "refuse"])
def test_every_request_and_every_answer_is_as_the_document_says(
    api: OpenAPI, simulator: Recorded, count: int, options: dict[str, bool], trouble: str
) -> None:
    simulator.revoked = trouble == "revoked"
    simulator.limits = {"minute": 0} if trouble == "limit" else {"minute": 1_000, "hour": 6_000, "day": 60_000}
    simulator.refuse = {"ann0@shop.example"} if trouble == "refuse" else set()
    with served(simulator) as url:
        connector = ApolloConnector(
            key="simulated", url=url + "/api/v1", webhook_url="https://us.example/hook", retry=Retry(tries=1)
        )
        outcomes = connector.perform_many([ask(place, **options) for place in range(count)])
        connector.close()
    assert len(outcomes) == count
    assert simulator.exchanged
    for request, reply in simulator.exchanged:
        sent = mock(request)
        api.validate_request(sent)
        declared = api.spec["paths"][request.path.removeprefix("/api/v1")]["post"]["responses"]
        parameters = {
            item["name"] for item in api.spec["paths"][request.path.removeprefix("/api/v1")]["post"].get("parameters", [])
        }
        assert set(request.query) <= parameters, urlencode(request.query)
        if str(reply.status) not in declared:  # people/match says nothing of its 422
            continue
        text = isinstance(reply.body, str)
        raw = reply.body.encode() if text else json.dumps(somebody(reply.body)).encode()
        kind = "text/plain" if text else "application/json"
        if not text and reply.status == 200:
            api.validate_response(sent, MockResponse(raw, status_code=200, content_type=kind))
        assert kind in declared[str(reply.status)]["content"]


def test_a_request_that_the_document_does_not_know_is_noticed(api: OpenAPI) -> None:
    from openapi_core.exceptions import OpenAPIError

    wrong = Request(
        "POST", "/api/v1/people/bulk_match", {}, {"content-type": "application/json", "x-api-key": "k"}, {"people": []}
    )
    with pytest.raises(OpenAPIError):
        api.validate_request(mock(wrong))
