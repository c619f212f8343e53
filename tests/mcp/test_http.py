"""The tools over streamable HTTP, as a real client of the official SDK sees them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jsonschema
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from api.conftest import DEFINITIONS, Live, running
from tailorbird.api.security import Keyring
from tailorbird.core.crm import Contact, CrmContext
from tailorbird.engine import Engine
from tailorbird.mcp.reading import READING as READING_TOOLS
from tailorbird.mcp.writing import WRITING as WRITING_TOOLS

READING = {
    "segment_context", "segment", "personalization", "find_contact", "why", "evaluate_expression", "preview_segment", "list_segments",
    "render_template",
}  # fmt: skip
WRITING = {"track_event", "tag_contact", "upsert_contact", "apply_definition"}


@asynccontextmanager
async def client(live: Live, key: str | None = None, mode: str = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{live.url}/mcp", http_client=http), mode=mode) as found,
    ):
        yield found


def talk(live: Live, what: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    async def go() -> Any:
        async with client(live, **options) as agent:
            return await what(agent)

    return anyio.run(go)


def call(live: Live, tool: str, key: str | None = None, **arguments: Any) -> Any:
    """Call a tool; return its structured result, which is what its text says and fits its schema."""

    async def go(agent: Client) -> Any:
        listed = {item.name: item for item in (await agent.list_tools()).tools}
        return listed.get(tool), await agent.call_tool(tool, arguments)

    listed, result = talk(live, go, key=key)
    assert not result.is_error, result.content[0].text
    assert json.loads(result.content[0].text) == result.structured_content
    jsonschema.validate(result.structured_content, listed.output_schema)
    return result.structured_content


def refusal(live: Live, tool: str, key: str | None = None, **arguments: Any) -> str:
    """Call a tool with what it must refuse; return the text the model reads."""
    result = talk(live, lambda agent: agent.call_tool(tool, arguments), key=key)
    assert result.is_error
    text: str = result.content[0].text
    return text


@pytest.fixture
def known(live: Live) -> Live:
    """A server that knows Ann, who opted in and saw three pages, and a few definitions."""
    live.engine.apply(DEFINITIONS)
    live.engine.identify("ann", attributes={"first_name": "Ann", "plan": "pro"}, identifiers={"email": "ann@example.com"})
    live.engine.consent("ann", "email", "marketing", True)
    for _ in range(3):
        live.engine.track("page.viewed", profile="ann", url="/pricing")
    return live


@pytest.fixture
def writer(known: Live) -> Iterator[str]:
    """A key with the scope write, in force."""
    key = Keyring(known.engine.store).create("agent", ["write"], known.engine.now())
    known.wait_for_keys()
    yield key


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_a_client_of_either_era_lists_the_reading_tools_and_calls_one(known: Live, mode: str, version: str) -> None:
    async def go(agent: Client) -> Any:
        result = await agent.call_tool("segment", {"contact_id": "ann"})
        return agent.protocol_version, {item.name for item in (await agent.list_tools()).tools}, result

    spoken, names, result = talk(known, go, mode=mode)
    assert (spoken, names) == (version, READING)
    assert result.structured_content["segmentation"]["segment"] == "nurture"


def test_every_tool_says_what_it_is_what_it_takes_and_what_it_does_to_the_world(known: Live, writer: str) -> None:
    tools = talk(known, lambda agent: agent.list_tools(), key=writer).tools
    assert {tool.name for tool in tools} == READING | WRITING
    for tool in tools:
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        assert tool.title and tool.description and tool.input_schema["type"] == tool.output_schema["type"] == "object"
        assert tool.annotations.read_only_hint is (tool.name in READING)
        assert tool.annotations.open_world_hint is False
    hints = {tool.name: tool.annotations for tool in tools}
    assert hints["apply_definition"].destructive_hint and not hints["track_event"].destructive_hint
    assert hints["tag_contact"].idempotent_hint and not hints["track_event"].idempotent_hint


def test_the_three_first_tools_answer_as_their_plain_twins_do(known: Live) -> None:
    twins = {
        "segment_context": "/mcp/crm/segment/context",
        "segment": "/mcp/crm/segment",
        "personalization": "/mcp/crm/personalization",
    }
    for tool, path in twins.items():
        plain = known.post(path, {"contact_id": "email:ann@example.com"}).json()
        found = call(known, tool, contact_id="email:ann@example.com")
        assert {name: found[name] for name in plain} == plain


@pytest.mark.parametrize("text", ["ann", "ann@example.com", "email:ann@example.com"])
def test_a_contact_is_found_by_whatever_names_them(known: Live, text: str) -> None:
    (found,) = call(known, "find_contact", contact=text)["contacts"]
    assert found["attributes"]["first_name"] == "Ann" and found["segments"] == ["keen"]


@pytest.mark.parametrize("text", ["Ana Leigh", "toy maker"])
def test_a_contact_whose_address_is_not_known_is_searched_for(known: Live, text: str) -> None:
    known.engine.identify("zoe", attributes={"first_name": "Anna", "last_name": "Leigh", "title": "Toy maker"})
    found = call(known, "find_contact", contact=text)["contacts"]
    assert [one["attributes"]["last_name"] for one in found if "last_name" in one["attributes"]] == ["Leigh"]


def test_a_template_is_written_out_for_a_contact(known: Live) -> None:
    text = "Hello {{ first_name }}, {{ count }} things"
    known.engine.apply([{"kind": "template", "name": "hello", "type": "plain", "body": text, "variables": {"count": {}}}])
    known.engine.identify("ann", attributes={"style": "casual"})
    found = call(known, "render_template", contact_id="ann", template="hello", variables={"count": 3})
    assert found["content"] == {"body": "Hi Ann, 3 things"}
    assert (found["style"], [used["name"] for used in found["variables"]]) == ("casual", ["count", "first_name"])
    assert "goodbye" in refusal(known, "render_template", contact_id="ann", template="goodbye")


def test_nobody_is_found_by_a_name_that_nobody_has(known: Live) -> None:
    assert call(known, "find_contact", contact="bob@example.com") == {"contacts": []}


def test_why_names_the_events_behind_a_membership(known: Live) -> None:
    found = call(known, "why", contact_id="ann", segment="keen")
    assert (found["member"], found["reason"]["actual"]) == (True, "3 of 2")
    assert [event["type"] for event in found["reason"]["events"]] == ["page.viewed"] * 3


def test_expressions_are_evaluated_for_one_and_for_all(known: Live) -> None:
    assert call(known, "evaluate_expression", expression="count(page.viewed)", contact_id="ann")["value"] == 3
    found = call(known, "evaluate_expression", expression='plan = "pro"')
    assert (found["count"], found["total"]) == (1, 1)


def test_a_segment_is_previewed_and_not_made(known: Live) -> None:
    found = call(known, "preview_segment", when='plan = "pro"')
    assert (found["size"], found["total"], found["sample"][0]["name"]) == (1, 1, "Ann")
    assert [item["name"] for item in call(known, "list_segments")["segments"]] == ["keen", "newsletter"]


def test_mistakes_say_what_where_and_how_to_mend_them(known: Live) -> None:
    text = refusal(known, "evaluate_expression", expression='cuntry is known and plann = "pro"', contact_id="ann")
    assert text.startswith("invalid_expression: ") and "line 1, column 1" in text and "^" in text
    text = refusal(known, "segment", contact_id="nobody")
    assert "contact not found" in text and "To mend it: Give a public id" in text
    text = refusal(known, "segment")
    assert "missing required field `contact_id`" in text and "It takes: contact_id." in text
    text = refusal(known, "segment_context", contact_id="ann", interaction_limit=0)
    assert "$.interaction_limit" in text
    text = refusal(known, "why", contact_id="ann", segment="kene")
    assert "Did you mean keen?" in text
    assert "call one of segment_context" in refusal(known, "no_such_tool")


def test_numbers_written_as_text_are_read_as_numbers(known: Live) -> None:
    found = call(known, "segment_context", contact_id="ann", interaction_limit="2")
    assert len(found["crm_context"]["interactions"]) == 2


def test_without_keys_and_with_a_reading_key_nothing_can_be_written(known: Live) -> None:
    assert "may only read" in refusal(known, "tag_contact", contact_id="ann", add=["vip"])
    key = Keyring(known.engine.store).create("agent", ["read"], known.engine.now())
    known.wait_for_keys()
    assert {tool.name for tool in talk(known, lambda agent: agent.list_tools(), key=key).tools} == READING
    assert "scope write" in refusal(known, "tag_contact", key=key, contact_id="ann", add=["vip"])
    assert known.engine.profile("ann").tags == ()


def test_a_writing_key_records_tags_changes_and_applies(known: Live, writer: str) -> None:
    found = call(known, "track_event", writer, contact_id="bob", type="page.viewed", data={"url": "/"}, id="e1")
    assert (found["status"], found["id"]) == ("accepted", "e1")
    assert call(known, "track_event", writer, contact_id="bob", type="page.viewed", id="e1")["status"] == "duplicate"
    assert call(known, "tag_contact", writer, contact_id="bob", add=["vip", "new"], remove=["new"])["tags"] == ["vip"]
    made = call(known, "upsert_contact", writer, email="cid@example.com", attributes={"first_name": "Cid"}, tags=["lead"])
    assert (made["attributes"]["first_name"], made["tags"]) == ("Cid", ["lead"])
    assert call(known, "upsert_contact", writer, contact_id=made["id"], attributes={"title": "CEO"})["id"] == made["id"]
    text = 'kind: segment\nname: pros\nwhen: plan = "pro"\n'
    assert call(known, "apply_definition", writer, definitions=text, check_only=True)["activated"] == []
    assert call(known, "apply_definition", writer, definitions=text)["activated"] == ["segment pros (version 1)"]
    assert call(known, "apply_definition", writer, definitions=text)["unchanged"] == ["segment pros"]
    assert known.engine.profile("ann").segments == ("keen", "pros")


def test_a_bad_definition_is_told_with_every_mistake(known: Live, writer: str) -> None:
    text = refusal(known, "apply_definition", writer, definitions="kind: segment\nname: Bad Name\nwhen: plan == 1\n")
    assert "Bad Name" in text and "text:3" in text and "^" in text
    text = refusal(known, "apply_definition", writer, definitions="/etc/passwd")
    assert "a definition is a mapping" in text


def test_a_key_is_needed_once_there_are_keys(known: Live, writer: str) -> None:
    answer = known.client.post("/mcp", json={})
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_a_web_page_of_another_site_cannot_call(known: Live, headers: dict[str, str]) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    assert known.client.post("/mcp", json=body, headers=headers).status_code == 403


def test_with_a_key_too_a_page_of_another_site_cannot_call(known: Live, writer: str) -> None:
    headers = {"Authorization": f"Bearer {writer}", "Accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert known.client.post("/mcp", json=body, headers={**headers, "Origin": "https://evil.example"}).status_code == 403
    assert known.client.post("/mcp", json=body, headers={**headers, "Origin": known.url}).status_code == 200


def test_there_is_nothing_to_listen_to(known: Live) -> None:
    answer = known.client.get("/mcp", headers={"Accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert known.client.delete("/mcp").status_code == 405


class Careless:
    """An adapter of a third party that answers with something that is no context."""

    name = "careless"

    def connect(self) -> None: ...

    def fetch(self, contact_id: str, *, interaction_limit: int) -> Any:
        return CrmContext(contact="SECRET")  # type: ignore[arg-type]

    def upsert(self, contact: Contact) -> str:
        return ""

    def delete(self, contact_id: str) -> bool:
        return False


def test_a_defect_is_logged_and_kept_from_the_caller(tmp_path: Path) -> None:
    with Engine.open(str(tmp_path / "careless.db"), adapters=[Careless()]) as engine, running(engine) as live:
        assert refusal(live, "segment", contact_id="ann") == "Something went wrong here; it was logged."
        assert '"fault"' in live.log.getvalue() and "SECRET" not in live.log.getvalue()


def test_the_reference_names_every_tool_with_what_it_takes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "mcp.md").read_text(encoding="utf-8")
    told = {name: set(re.findall(r"`(\w+)`", row)) for name, row in re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE)}
    there = {tool.name: set(tool.listed.input_schema["properties"]) for tool in (*READING_TOOLS, *WRITING_TOOLS)}
    assert told == there


def test_a_template_is_rendered_for_a_contact(known: Live) -> None:
    known.engine.apply(
        {
            "kind": "template", "name": "hello", "type": "plain", "body": "Hello {{ first_name }}: {{ topic }}",
            "variables": {"topic": None},
        }
    )  # fmt: skip
    found = call(known, "render_template", contact_id="ann", template="hello", variables={"topic": "prices"})
    assert found["content"] == {"body": "Hello Ann: prices"}
    assert {used["name"]: used["source"] for used in found["variables"]} == {"first_name": "attribute", "topic": "caller"}
    assert "helo" in refusal(known, "render_template", contact_id="ann", template="helo")
