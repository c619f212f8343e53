"""MCP over standard input and output, for agents that start the server themselves."""

from __future__ import annotations

import anyio
from mcp.server.stdio import stdio_server

from tailorbird.engine import Engine
from tailorbird.mcp.server import build_server

__all__ = ["serve_stdio"]


def serve_stdio(engine: Engine, *, writes: bool = False) -> None:
    """Serve until the input ends; with ``writes`` the tools that change something are there too."""

    async def run() -> None:
        server = build_server(engine, writes=writes)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(run)
