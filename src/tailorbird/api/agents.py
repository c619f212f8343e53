"""MCP in the server: who may use which tools, where the package is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tailorbird.api.logs import Log, fault
from tailorbird.api.security import Keyring, Unauthorized, is_loopback, token_of
from tailorbird.engine import Engine
from tailorbird.errors import Forbidden

if TYPE_CHECKING:
    from tailorbird.mcp.http import MCPApp

__all__ = ["agents_app"]


def agents_app(engine: Engine, keyring: Keyring, log: Log, hosts: frozenset[str]) -> MCPApp | None:
    """Return what answers at ``/mcp``; None without the extra ``mcp``.

    Tools that write are for keys with the scope ``write`` alone: without keys there is nobody to have given it.
    """
    if find_spec("mcp") is None:
        return None
    from tailorbird.mcp.http import MCPApp

    def may_write(headers: list[tuple[bytes, bytes]]) -> bool:
        if keyring.unused:
            return False
        try:
            keyring.allow(token_of(headers), "write", engine.clock.now())
        except (Forbidden, Unauthorized):
            return False
        return True

    def ours(host: str) -> bool:
        return is_loopback(host) or host in hosts

    return MCPApp(engine, may_write=may_write, ours=ours, fault=lambda where, error: fault(log, where, error))
