"""A real server, as for the tests of the HTTP API."""

from __future__ import annotations

from api.conftest import live, serve

__all__ = ["live", "serve"]
