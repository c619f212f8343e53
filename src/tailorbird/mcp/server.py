"""The MCP server over an engine: which tools it has, and how a call is carried out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from anyio.to_thread import run_sync
from mcp.server.lowlevel import Server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent

from tailorbird import __version__
from tailorbird.engine import Engine
from tailorbird.mcp.reading import READING
from tailorbird.mcp.tool import Tool
from tailorbird.mcp.writing import WRITING

__all__ = ["INSTRUCTIONS", "build_server", "tools_of"]

INSTRUCTIONS: Final = (
    "Tailorbird knows the contacts of a team's CRM, everything they did, and the segments they are in, exactly and at once. "
    "Before you write to somebody, call segment: a contact labelled do-not-contact must not get marketing. contact_id is an id or "
    "kind:value such as email:ann@example.com. Instants in answers are milliseconds since 1970 (UTC). When a call fails, the "
    "result says what is wrong and how to mend it."
)


def tools_of(*, writes: bool = False) -> tuple[Tool, ...]:
    """Return the tools; with ``writes`` those that change something too."""
    return (*READING, *(WRITING if writes else ()))


def build_server(
    engine: Engine, *, writes: bool = False, fault: Callable[[str, BaseException], None] | None = None
) -> Server[dict[str, Any]]:
    """Return a server with the engine's tools; ``fault`` is told of defects, whose text is kept from callers."""
    tools = {tool.name: tool for tool in tools_of(writes=writes)}

    async def list_tools(_: Any, __: Any) -> ListToolsResult:
        return ListToolsResult(tools=[tool.listed for tool in tools.values()])

    async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            return _unknown(params.name, tuple(tools))
        try:
            return await run_sync(partial(tool.call, engine, params.arguments or {}))
        except Exception as error:
            if fault is not None:
                fault("mcp", error)
            return CallToolResult(content=[TextContent(text="Something went wrong here; it was logged.")], is_error=True)

    def input_schema(name: str) -> dict[str, Any] | None:
        return tools[name].listed.input_schema if name in tools else None

    return Server(
        "tailorbird", version=__version__, title="Tailorbird", instructions=INSTRUCTIONS, on_list_tools=list_tools,
        on_call_tool=call_tool, get_tool_input_schema=input_schema,
    )  # fmt: skip


def _unknown(name: str, known: tuple[str, ...]) -> CallToolResult:
    writing = {tool.name for tool in WRITING}
    if name in writing:
        text = (
            f"{name} changes something, and this connection may only read.\nTo mend it: connect with an API key that has the "
            "scope write, or start `tailorbird mcp --allow-writes`."
        )
    else:
        text = f"There is no tool {name!r:.80}.\nTo mend it: call one of {', '.join(known)}."
    return CallToolResult(content=[TextContent(text=text)], is_error=True)
