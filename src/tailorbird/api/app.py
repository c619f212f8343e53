"""The application: FastAPI for what people browse, the short path ahead of it, and what runs beside both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from tailorbird.api import openapi, problems
from tailorbird.api.agents import agents_app
from tailorbird.api.answers import refusal
from tailorbird.api.background import Background
from tailorbird.api.front import Front
from tailorbird.api.guard import Guard
from tailorbird.api.idempotency import Replies
from tailorbird.api.logs import Log, fault, open_log
from tailorbird.api.metrics import Metrics
from tailorbird.api.routes import (
    actions,
    activities,
    connections,
    contacts,
    content,
    customers,
    definitions,
    directory,
    enrichment,
    keys,
    narrative,
    people,
    questions,
    segments,
    service,
    syncing,
    system,
)
from tailorbird.api.security import Keyring
from tailorbird.engine import Engine
from tailorbird.errors import TailorbirdError
from tailorbird.settings import Settings

__all__ = ["create_app"]


def create_app(engine: Engine | str, settings: Settings | None = None, *, local: bool = True, log: Log | None = None) -> Front:
    """Return the ASGI application over an engine, or over the database at a URL, which it then opens and closes.

    With ``local`` the server is reachable from this machine only, and may be used without keys as long as there are none.
    The application has to be started by its lifespan.
    """
    opened = Engine.open(engine, settings=settings) if isinstance(engine, str) else engine
    chosen = settings or opened.settings
    journal = log or open_log(chosen.log_level)
    metrics = Metrics(opened)
    keyring = Keyring(opened.store)
    intake = opened.intake()
    opened.loop.watch = metrics.committed
    opened.service.states()  # adapters that cannot be loaded are told now, not at the first question
    background = Background(opened, metrics, journal, keyring.reload)
    hosts = frozenset(name.strip().lower() for name in chosen.allowed_hosts.split(",") if name.strip())
    agents = agents_app(opened, keyring, journal, hosts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await intake.start()
        background.start()
        try:
            async with agents.run() if agents is not None else nullcontext():
                yield
        finally:
            await intake.stop()
            await run_sync(background.stop)
            if isinstance(engine, str):
                await run_sync(opened.close)

    app = _fastapi(opened, metrics, keyring, journal, lambda: intake.queued, lifespan)
    if agents is not None:
        app.router.routes.append(Route("/mcp", agents, include_in_schema=False))
    guard = Guard(keyring, opened.clock.now, local=local, hosts=hosts)
    short = service.Shortcut(app, service.replies(opened))
    return Front(short, opened, guard, metrics, journal, intake.take, Replies(opened), app.openapi)


def _fastapi(engine: Engine, metrics: Metrics, keyring: Keyring, log: Log, queued: Callable[[], int], lifespan: Any) -> FastAPI:
    app = FastAPI(title="Tailorbird", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, redirect_slashes=False)
    made: dict[str, Any] = {}

    def schema() -> dict[str, Any]:
        if not made:
            made.update(openapi.build(app))
        return made

    app.openapi = schema  # type: ignore[method-assign]
    app.include_router(people.router(engine))
    app.include_router(contacts.router(engine))
    app.include_router(customers.router(engine))
    app.include_router(segments.router(engine))
    app.include_router(directory.router(engine))
    app.include_router(questions.router(engine))
    app.include_router(narrative.router(engine))
    app.include_router(definitions.router(engine))
    app.include_router(content.router(engine))
    app.include_router(actions.router(engine))
    app.include_router(activities.router(engine))
    app.include_router(enrichment.router(engine))
    app.include_router(connections.router(engine))
    app.include_router(keys.router(engine, keyring))
    app.include_router(syncing.router(engine))
    app.include_router(service.router(engine))
    app.include_router(system.router(engine, metrics, queued, schema))
    _refuse_alike(app, metrics, log)
    return app


def _refuse_alike(app: FastAPI, metrics: Metrics, log: Log) -> None:
    """Let every refusal have one form."""

    def known(_: Request, error: Exception) -> Response:
        assert isinstance(error, TailorbirdError)
        answer = refusal(error)
        return Response(answer.body, answer.status, media_type=problems.CONTENT_TYPE)

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError | ValidationError)
        mistakes = [_mistake(dict(item)) for item in error.errors()]
        detail = "; ".join(f"{m['where']}: {m['message']}" for m in mistakes[:5])
        return _respond(problems.problem(422, "invalid_input", detail, mistakes=mistakes))

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        hint = "/docs lists what there is" if error.status_code in (404, 405) else ""
        found = problems.problem(error.status_code, code, str(error.detail), hint=hint)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods(app, request.url.path)))
        return _respond(found, headers)

    def defect(_: Request, error: Exception) -> Response:
        metrics.faults.labels("api").inc()
        fault(log, "api", error)
        return _respond(problems.problem(500, "error", "something went wrong here; it was logged"))

    app.add_exception_handler(TailorbirdError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, defect)


def _methods(app: FastAPI, path: str) -> set[str]:
    """Return the methods that a path has in all."""
    scope = {"type": "http", "path": path, "method": ""}
    found: set[str] = set()
    for route in app.routes:
        if route.matches(scope)[0] != Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


def _respond(found: problems.Problem, headers: dict[str, str] | None = None) -> Response:
    return Response(problems.encode(found), found.status, headers, media_type=problems.CONTENT_TYPE)


def _mistake(item: dict[str, Any]) -> dict[str, Any]:
    """Return what Pydantic found wrong, without the value, which may be anything."""
    where = ".".join(str(part) for part in item["loc"])
    return {"code": str(item["type"]), "message": str(item["msg"]), "where": where or "body"}
