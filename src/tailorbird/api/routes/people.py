"""Profiles: find, look, ask why, tag, consent, merge, erase, export."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.shapes import Body, Instant, Limit, answers, cursor, instant
from tailorbird.engine import Engine, EventView, ProfileView
from tailorbird.engine.views import MembershipView
from tailorbird.errors import NotFound
from tailorbird.expr.why import Reason
from tailorbird.ports import Merge
from tailorbird.profiles.erase import Erasure
from tailorbird.runtime.ingest import Receipt

__all__ = ["MergeView", "Removed", "WhyView", "router"]

Ref = Annotated[
    str,
    Path(description="A public id (`p_…`), an external id, or `kind:value` such as `email:ann@example.com`", max_length=300),
]
Tag = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Tags(Body):
    """Tags to give or take."""

    tags: Annotated[list[Tag], Field(min_length=1, max_length=100, examples=[["vip"]])]


class Proof(Body):
    """What shows that a person consented."""

    method: Annotated[str, Field(min_length=1, max_length=100, examples=["form"])]
    at: Annotated[str | None, Field(min_length=1, max_length=40)] = None
    ip: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    text: Annotated[str | None, Field(min_length=1, max_length=5_000)] = None
    url: Annotated[str | None, Field(min_length=1, max_length=2_000)] = None
    by: Annotated[str | None, Field(min_length=1, max_length=200)] = None


class Consent(Body):
    """A person's consent to be reached on a channel for a purpose, or its withdrawal."""

    channel: Annotated[Name, Field(examples=["email"])]
    purpose: Annotated[Name, Field(examples=["marketing"])]
    granted: bool
    explicit: Annotated[bool, Field(description="The person's own word; that alone undoes a withdrawal")] = False
    proof: Proof | None = None


class Joining(Body):
    """Which profile becomes part of the one in the path, and why."""

    loser: Annotated[str, Field(min_length=1, max_length=300, examples=["email:ann@example.com"])]
    reason: Annotated[str, Field(max_length=500)] = ""


class MergeView(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded merge: which profile is now part of which, since when, by which rule; ``undone_at`` when it was taken back."""

    id: str
    winner: str
    loser: str
    at: int
    rule: str
    reason: str
    undone_at: int | None = None


class WhyView(msgspec.Struct, frozen=True, kw_only=True):
    """One clause and how it stands: its ``value`` (null: unknown), what was measured, its parts, the latest events behind it.

    ``until`` is when it next changes with no new event; null when it does not.
    """

    text: str
    value: Any
    actual: str | None = None
    because: tuple[WhyView, ...] = ()
    events: tuple[EventView, ...] = ()
    until: int | None = None


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased: public ids (the profile's and of those merged into it), and how many rows."""

    ids: tuple[str, ...]
    rows: int


def router(engine: Engine) -> APIRouter:
    """Return the routes about profiles."""
    routes = APIRouter(prefix="/api/v1", tags=["profiles"])
    _looking(routes, engine)
    _changing(routes, engine)
    _joining(routes, engine)
    return routes


def _looking(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/profiles", responses=answers(Page[ProfileView], text="Profiles"), operation_id="list_profiles")
    def list_profiles(
        ref: Annotated[str | None, Query(description="Only the profile known as this (id or kind:value)", max_length=300)] = None,
        kind: Annotated[str, Query(pattern="^(person|company)$")] = "person",
        after: Annotated[str | None, Query(description="`next` of the page before", max_length=40)] = None,
        limit: Limit = 50,
    ) -> Response:
        """Find a profile by one of its identifiers, or list all of them, a page at a time."""
        if ref is not None:
            try:
                return reply(Page(items=(engine.profile(ref),)))
            except NotFound:
                return reply(Page[ProfileView](items=()))
        found = engine.store.page_profiles(after=int(cursor(after, "after") or 0), limit=limit + 1, kind=kind)
        shown = found[:limit]
        following = str(shown[-1].key) if len(found) > limit else None
        return reply(Page(items=tuple(engine.profile(p.id) for p in shown), next=following))

    @routes.get("/profiles/{ref}", responses=answers(ProfileView, text="The profile"), operation_id="get_profile")
    def get_profile(ref: Ref) -> Response:
        """Identifiers, attributes and where they came from, tags, consents, segments."""
        return reply(engine.profile(ref))

    @routes.get(
        "/profiles/{ref}/timeline", responses=answers(Page[EventView], text="Events, newest first"), operation_id="get_timeline"
    )
    def get_timeline(
        ref: Ref,
        before: Annotated[str | None, Query(description="`next` of the page before", max_length=60)] = None,
        limit: Limit = 50,
    ) -> Response:
        """What happened, newest first."""
        found = engine.timeline(ref, before=cursor(before, "before"), limit=limit)
        return reply(Page(items=found.events, next=found.next))

    @routes.get(
        "/profiles/{ref}/segments", responses=answers(Page[MembershipView], text="Memberships"), operation_id="get_memberships"
    )
    def get_memberships(ref: Ref) -> Response:
        """The segments the profile is in, and since when."""
        return reply(Page(items=engine.profile(ref).memberships))

    @routes.get(
        "/profiles/{ref}/why/{segment}",
        responses=answers(WhyView, text="The condition, clause by clause"),
        operation_id="why",
    )
    def why(ref: Ref, segment: Annotated[str, Path(max_length=200)], as_of: Instant = None) -> Response:
        """Why the profile is in a segment or is not: which clause holds, by which events, until when."""
        return reply(_why(engine.why(ref, segment, as_of=instant(as_of, "as_of"), limit=engine.settings.question_limit)))

    @routes.get("/profiles/{ref}/export", responses=answers(dict[str, Any], text="Everything"), operation_id="export_profile")
    def export_profile(ref: Ref) -> Response:
        """Everything known of a person as one document."""
        return reply(engine.export(ref))


def _changing(routes: APIRouter, engine: Engine) -> None:
    @routes.post(
        "/profiles/{ref}/tags", responses=answers(ProfileView, text="The profile as it is then"), operation_id="add_tags"
    )
    def add_tags(ref: Ref, body: Tags) -> Response:
        """Give a profile tags."""
        engine.tag(ref, *body.tags, source="api")
        return reply(engine.profile(ref))

    @routes.delete(
        "/profiles/{ref}/tags/{tag}", responses=answers(ProfileView, text="The profile as it is then"), operation_id="remove_tag"
    )
    def remove_tag(ref: Ref, tag: Annotated[str, Path(min_length=1, max_length=200)]) -> Response:
        """Take a tag from a profile; it may not have had it."""
        engine.untag(ref, tag, source="api")
        return reply(engine.profile(ref))

    @routes.post("/profiles/{ref}/consents", responses=answers(Receipt, text="The receipt"), operation_id="set_consent")
    def set_consent(ref: Ref, body: Consent) -> Response:
        """Note a consent or its withdrawal."""
        proof = None if body.proof is None else body.proof.model_dump(exclude_none=True)
        receipt = engine.consent(ref, body.channel, body.purpose, body.granted, explicit=body.explicit, proof=proof, source="api")
        return reply(receipt)

    @routes.delete("/profiles/{ref}", responses=answers(Removed, text="What was erased"), operation_id="forget_profile")
    def forget_profile(ref: Ref) -> Response:
        """Erase a person everywhere; needs the scope admin."""
        gone: Erasure = engine.forget(ref)
        return reply(Removed(ids=gone.ids, rows=gone.rows))


def _joining(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/profiles/{ref}/merges", responses=answers(Page[MergeView], text="Merges"), operation_id="list_merges")
    def list_merges(ref: Ref) -> Response:
        """The merges that the profile took part in, those taken back included."""
        return reply(Page(items=_views(engine, engine.merges(ref))))

    @routes.post(
        "/profiles/{ref}/merge", responses=answers(MergeView, text="The merge as recorded"), operation_id="merge_profiles"
    )
    def merge_profiles(ref: Ref, body: Joining) -> Response:
        """Make another profile part of this one; nothing is lost, and `unmerge` takes it back."""
        return reply(_views(engine, [engine.merge(ref, body.loser, reason=body.reason)])[0])

    @routes.post(
        "/merges/{merge}/undo", responses=answers(MergeView, text="The merge as recorded"), operation_id="unmerge_profiles"
    )
    def unmerge_profiles(merge: Annotated[str, Path(max_length=100)]) -> Response:
        """Take a merge back: exactly what came from the other profile returns to it."""
        return reply(_views(engine, [engine.unmerge(merge)])[0])


def _why(reason: Reason) -> WhyView:
    events = tuple(
        EventView(id=e.id, type=e.type, at=e.at, received_at=e.received_at, source=e.source, data=e.data, cause=e.cause)
        for e in reason.events
    )
    because = tuple(_why(part) for part in reason.because)
    return WhyView(text=reason.text, value=reason.value, actual=reason.actual, because=because, events=events, until=reason.until)


def _views(engine: Engine, merges: list[Merge]) -> tuple[MergeView, ...]:
    keys = sorted({key for merge in merges for key in (merge.winner, merge.loser)})
    ids = {key: profile.id for key, profile in engine.store.profiles(keys).items()}
    return tuple(
        MergeView(
            id=m.id,
            winner=ids.get(m.winner, ""),
            loser=ids.get(m.loser, ""),
            at=m.at,
            rule=m.rule,
            reason=m.reason,
            undone_at=m.undone_at,
        )
        for m in merges
    )
