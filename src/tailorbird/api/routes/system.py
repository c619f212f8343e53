"""The server itself: what is running, whether it is well, what it measures, and its reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tailorbird import __version__
from tailorbird.api import pages
from tailorbird.api.answers import reply
from tailorbird.api.metrics import CONTENT_TYPE, Metrics
from tailorbird.api.shapes import answers
from tailorbird.engine import Engine
from tailorbird.engine.service import NAME
from tailorbird.errors import TailorbirdError

__all__ = ["Health", "router"]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server is well: ``database`` answers, events wait in the ``queue``, the earliest timer is late by so much.

    ``service`` is what answers at ``/invoke``, ``adapters`` how each CRM adapter does: connected, failing, or idle (not asked yet).
    """

    status: Literal["ok", "failing"]
    version: str
    database: Literal["ok", "failing"]
    events: int = 0
    queue: int = 0
    timer_delay_ms: int = 0
    service: str = NAME
    adapters: dict[str, str] = {}


def router(engine: Engine, metrics: Metrics, queued: Callable[[], int], schema: Callable[[], dict[str, Any]]) -> APIRouter:
    """Return the routes about the server."""
    routes = APIRouter(tags=["server"])

    @routes.get("/health", responses=_health_answers(), operation_id="health")
    async def health() -> Response:
        """Whether the server is well; needs no key."""
        found = await run_sync(_look, engine, queued())
        return reply(found, 200 if found.status == "ok" else 503)

    @routes.get(
        "/metrics", operation_id="metrics", response_class=Response,
        responses={200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def measured() -> Response:
        """Counts and times for Prometheus; no personal data."""
        metrics.queue.set(queued())
        return Response(await run_sync(metrics.render), media_type=CONTENT_TYPE)

    @routes.get("/", include_in_schema=False)
    def home(request: Request) -> Response:
        sizes = engine.store.segment_sizes()
        facts = {
            "profiles": f"{engine.store.count_profiles():,}", "events": f"{engine.store.last_seq():,}",
            "live segments": f"{len(engine.loop.catalog.conditions):,}", "memberships": f"{sum(sizes.values()):,}",
            "features": f"{len(engine.loop.catalog.features):,}",
        }  # fmt: skip
        return HTMLResponse(pages.home(__version__, facts, f"{request.url.scheme}://{request.url.netloc}"), headers=_HEADERS)

    @routes.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return HTMLResponse(pages.docs(schema()), headers=_HEADERS)

    @routes.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return JSONResponse(schema())

    return routes


_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def _health_answers() -> dict[int | str, dict[str, Any]]:
    well = answers(Health, text="The server is well")
    return well | answers(Health, text="The database does not answer", status=503)


def _look(engine: Engine, queued: int) -> Health:
    adapters = engine.service.states()
    try:
        events = engine.store.last_seq()
        due = engine.store.next_due()
    except TailorbirdError:
        return Health(status="failing", version=__version__, database="failing", queue=queued, adapters=adapters)
    late = 0 if due is None else max(0, engine.now() - due)
    return Health(
        status="ok", version=__version__, database="ok", events=events, queue=queued, timer_delay_ms=late, adapters=adapters
    )
