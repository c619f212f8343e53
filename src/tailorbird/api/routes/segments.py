"""Segments: members, size, history, overlap, drift, and lists kept by hand."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.shapes import Body, Instant, Limit, answers, cursor, instant
from tailorbird.engine import Engine, MemberView, SegmentView
from tailorbird.engine.views import FeatureView
from tailorbird.segments.drift import Drift
from tailorbird.segments.history import Point
from tailorbird.segments.overlap import Overlap

__all__ = ["Changed", "router"]

Segment = Annotated[str, Path(description="A segment's name", max_length=200)]
Ref = Annotated[str, Field(min_length=1, max_length=300)]


class People(Body):
    """Profiles to put on a list or take off."""

    profiles: Annotated[list[Ref], Field(min_length=1, max_length=1_000, examples=[["ann", "email:bob@example.com"]])]


class Changed(msgspec.Struct, frozen=True):
    """For how many profiles it made a difference."""

    changed: int


def router(engine: Engine) -> APIRouter:
    """Return the routes about segments and features."""
    segments = APIRouter(prefix="/api/v1", tags=["segments"])
    _looking(segments, engine)
    _listing(segments, engine)
    features = APIRouter(prefix="/api/v1", tags=["features"])

    @features.get("/features", responses=answers(Page[FeatureView], text="Features"), operation_id="list_features")
    def list_features() -> Response:
        """Every live feature."""
        return reply(Page(items=tuple(engine.feature_list())))

    routes = APIRouter()
    routes.include_router(segments)
    routes.include_router(features)
    return routes


def _looking(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/segments", responses=answers(Page[SegmentView], text="Segments"), operation_id="list_segments")
    def list_segments() -> Response:
        """Every live segment with its size, condition and freshness."""
        return reply(Page(items=tuple(engine.segments())))

    @routes.get("/segments/overlap", responses=answers(Overlap, text="Sizes and pairs"), operation_id="segment_overlap")
    def segment_overlap(
        names: Annotated[str | None, Query(description="Names with commas between; left out: all", max_length=5_000)] = None,
    ) -> Response:
        """How many people segments have in common."""
        chosen = None if names is None else list(dict.fromkeys(name for name in names.split(",") if name))
        return reply(engine.overlap(chosen))

    @routes.get("/segments/{segment}/members", responses=answers(Page[MemberView], text="Members"), operation_id="list_members")
    def list_members(
        segment: Segment, after: Annotated[str | None, Query(description="`next` of the page before", max_length=40)] = None,
        limit: Limit = 50,
    ) -> Response:  # fmt: skip
        """Who is in it, a page at a time."""
        found = engine.members(segment, after=cursor(after, "after"), limit=limit)
        return reply(Page(items=found.members, next=found.next))

    @routes.get(
        "/segments/{segment}/history", responses=answers(Page[Point], text="Steps, oldest first"), operation_id="segment_history"
    )
    def segment_history(
        segment: Segment, since: Instant = None, until: Instant = None,
        step: Annotated[str, Query(description="A duration such as 1h, 1d, 1w", max_length=20)] = "1d",
    ) -> Response:  # fmt: skip
        """Size, inflow and outflow over time; by default of the last 30 days."""
        return reply(
            Page(items=tuple(engine.history(segment, since=instant(since, "since"), until=instant(until, "until"), step=step)))
        )

    @routes.get(
        "/segments/{segment}/drift", responses=answers(Drift, text="Index and status by attribute"), operation_id="segment_drift"
    )
    def segment_drift(segment: Segment, baseline: Instant = None) -> Response:
        """Whether its members are still the kind of people they were at the baseline (by default 30 days ago)."""
        return reply(engine.drift(segment, baseline=instant(baseline, "baseline")))


def _listing(routes: APIRouter, engine: Engine) -> None:
    @routes.post("/segments/{segment}/members", responses=answers(Changed, text="How many are new"), operation_id="add_members")
    def add_members(segment: Segment, body: People) -> Response:
        """Put people on a list kept by hand."""
        return reply(Changed(engine.add_members(segment, body.profiles, source="api")))

    @routes.post(
        "/segments/{segment}/members/remove",
        responses=answers(Changed, text="How many were on it"),
        operation_id="remove_members",
    )
    def remove_members(segment: Segment, body: People) -> Response:
        """Take people off a list kept by hand."""
        return reply(Changed(engine.remove_members(segment, body.profiles, source="api")))
