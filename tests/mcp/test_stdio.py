"""The tools over standard input and output: ``tailorbird mcp`` started by a real client."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tailorbird.engine import Engine


def talk(database: Path, what: Callable[[Client], Awaitable[Any]], *options: str, mode: str = "auto") -> Any:
    """Start the command, talk to it, and let it end."""

    async def go() -> Any:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "tailorbird.cli.main", "-d", str(database), "mcp", *options],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        with anyio.fail_after(60):
            async with Client(stdio_client(server), mode=mode) as agent:
                return await what(agent)

    return anyio.run(go)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with Ann in it."""
    path = tmp_path / "agents.db"
    with Engine.open(str(path)) as engine:
        engine.identify("ann", attributes={"first_name": "Ann"})
        engine.track("call.completed", profile="ann")
    return path


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_an_agent_reads_and_cannot_write(database: Path, mode: str, version: str) -> None:
    async def go(agent: Client) -> Any:
        names = {tool.name for tool in (await agent.list_tools()).tools}
        read = await agent.call_tool("segment", {"contact_id": "ann"})
        write = await agent.call_tool("tag_contact", {"contact_id": "ann", "add": ["vip"]})
        return agent.protocol_version, names, read, write

    spoken, names, read, write = talk(database, go, mode=mode)
    assert spoken == version
    assert "segment" in names and "tag_contact" not in names
    assert read.structured_content["segmentation"]["segment"] == "do-not-contact"
    assert write.is_error and "--allow-writes" in write.content[0].text


def test_an_agent_that_is_allowed_to_writes(database: Path) -> None:
    async def go(agent: Client) -> Any:
        assert "tag_contact" in {tool.name for tool in (await agent.list_tools()).tools}
        return await agent.call_tool("tag_contact", {"contact_id": "ann", "add": ["vip"]})

    assert talk(database, go, "--allow-writes").structured_content["tags"] == ["vip"]
    with Engine.open(str(database)) as engine:
        assert engine.profile("ann").tags == ("vip",)
