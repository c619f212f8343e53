"""Contacts: find, count, change many; campaigns; moving in and out; duplicates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.routes.people import MergeView
from tailorbird.api.shapes import Body, Limit, answers
from tailorbird.engine import Engine
from tailorbird.engine.campaigns import Campaign, CampaignReport, Undone
from tailorbird.engine.directory import BulkChange, PersonView
from tailorbird.engine.duplicates import Suggestion
from tailorbird.engine.exchange import Moved, entries, read_document
from tailorbird.errors import InvalidInput
from tailorbird.ports import Criteria, Numbers

__all__ = ["Count", "Statistics", "router"]

_MOST_ADDRESSES = 20_000
_Word = Annotated[str | None, Query(max_length=300)]
_Text = Annotated[str, Field(min_length=1, max_length=300)]
_Where = Annotated[
    list[str] | None,
    Query(
        alias="attribute", description="A test of an attribute, repeatable: `city=Paris`, `plan in pro,team`, `title~sales`",
        max_length=20,
    ),
]  # fmt: skip


class Chosen(Body):
    """Which people: everything that is given has to hold. At least one must be given."""

    status: _Text | None = None
    domain: _Text | None = None
    tag: _Text | None = None
    segment: _Text | None = None
    attributes: Annotated[list[_Text], Field(max_length=20, default_factory=list)]
    text: _Text | None = None
    name: _Text | None = None
    profiles: Annotated[list[_Text] | None, Field(max_length=10_000)] = None


class Bulk(Body):
    """What to do with everybody who is chosen."""

    choose: Chosen
    add_tags: Annotated[list[_Text], Field(max_length=100, default_factory=list)]
    remove_tags: Annotated[list[_Text], Field(max_length=100, default_factory=list)]
    attributes: Annotated[dict[str, Any], Field(max_length=100, default_factory=dict)]


class CampaignIn(Body):
    """People for a campaign: addresses (also `Ann Smith <ann@example.com>`), or a table as CSV text."""

    name: Annotated[str, Field(min_length=1, max_length=150, examples=["Spring sale"])]
    addresses: Annotated[list[_Text], Field(max_length=_MOST_ADDRESSES, default_factory=list)]
    csv: Annotated[str | None, Field(min_length=1, max_length=4_000_000)] = None
    fields: Annotated[dict[str, str], Field(max_length=100, default_factory=dict)]
    tags: Annotated[list[_Text], Field(max_length=100, default_factory=list)]
    dry_run: bool = False
    enrich: bool = True


class Undo(Body):
    """How an import is taken back."""

    also_enriched: Annotated[bool, Field(description="Also erase those who were enriched since; that was paid")] = False


class Pair(Body):
    """A suggestion to merge, by its id, and who decided."""

    suggestion: Annotated[str, Field(min_length=3, max_length=80)]
    by: Annotated[str, Field(max_length=100)] = ""


class Count(msgspec.Struct, frozen=True):
    """For how many people the criteria hold."""

    count: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over all people: by status, enriched, with a verified e-mail, with engagement, and engagements."""

    total: int
    by_status: dict[str, int]
    enriched: int
    verified: int
    engaged: int
    engagements: int


def router(engine: Engine) -> APIRouter:
    """Return the routes about contacts as a whole."""
    routes = APIRouter(prefix="/api/v1", tags=["contacts"])
    _finding(routes, engine)
    _changing(routes, engine)
    _campaigns(routes, engine)
    _exchange(routes, engine)
    _duplicates(routes, engine)
    return routes


def _finding(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/contacts", responses=answers(Page[PersonView], text="Contacts"), operation_id="find_contacts")
    def find_contacts(
        status: _Word = None, domain: _Word = None, tag: _Word = None, segment: _Word = None, attribute: _Where = None,
        text: Annotated[str | None, Query(description="Words that all occur somewhere", max_length=300)] = None,
        name: Annotated[str | None, Query(description="A name that may be misspelt", max_length=300)] = None,
        sort: Annotated[Literal["name", "created_at", "updated_at", "status", "relevance"] | None, Query()] = None,
        descending: bool | None = None,
        after: Annotated[str | None, Query(description="`next` of the page before", max_length=1_000)] = None, limit: Limit = 50,
    ) -> Response:  # fmt: skip
        """Find people; everything that is given has to hold."""
        found = engine.directory.find(
            sort=sort, descending=descending, after=after, limit=limit, status=status, domain=domain, tag=tag, segment=segment,
            where=_short(attribute), text=text, name=name,
        )  # fmt: skip
        return reply(Page(items=found.people, next=found.next))

    @routes.get("/contacts/count", responses=answers(Count, text="How many"), operation_id="count_contacts")
    def count_contacts(
        status: _Word = None, domain: _Word = None, tag: _Word = None, segment: _Word = None, attribute: _Where = None,
        text: _Word = None, name: _Word = None,
    ) -> Response:  # fmt: skip
        """Count people; everything that is given has to hold."""
        count = engine.directory.count(
            status=status, domain=domain, tag=tag, segment=segment, where=_short(attribute), text=text, name=name
        )
        return reply(Count(count))

    @routes.get("/contacts/statistics", responses=answers(Statistics, text="Counts"), operation_id="contact_statistics")
    def contact_statistics() -> Response:
        """How many people there are, by status, enriched, verified, with engagement."""
        found: Numbers = engine.directory.statistics()
        return reply(Statistics(**found._asdict()))

    @routes.get("/contacts/csv", responses=_csv_answer(), operation_id="contacts_csv")
    def contacts_csv(
        status: _Word = None, domain: _Word = None, tag: _Word = None, segment: _Word = None, attribute: _Where = None,
        text: _Word = None, fields: Annotated[str | None, Query(description="Attributes with commas between", max_length=2_000)] = None,
    ) -> Response:  # fmt: skip
        """Write people as CSV, at most 100,000; cells that a spreadsheet would run get an apostrophe in front."""
        chosen = engine.directory.criteria(
            status=status, domain=domain, tag=tag, segment=segment, where=_short(attribute), text=text
        )
        _not_too_many(engine, chosen, 100_000)
        names = [name.strip() for name in (fields or "").split(",") if name.strip()]
        return Response(str(engine.directory.write_csv(None, chosen, names)), media_type="text/csv; charset=utf-8")


def _changing(routes: APIRouter, engine: Engine) -> None:
    @routes.post("/contacts/bulk", responses=answers(BulkChange, text="How many changed"), operation_id="change_contacts")
    def change_contacts(body: Bulk) -> Response:
        """Give or take tags, and set attributes, of everybody who is chosen."""
        choice = body.choose.model_dump(exclude_none=True)
        where, refs = choice.pop("attributes"), choice.pop("profiles", None)
        if not choice and not where and refs is None:
            raise InvalidInput("choose is empty: that would be everybody.", hint="Choose by status, tag, profiles, …")
        directory = engine.directory
        # Named once: who is chosen by a tag must not be lost when the tag goes.
        keys = directory.people.keys(directory.criteria(**choice, where=where, refs=refs))
        chosen, changed = Criteria(profiles=tuple(keys)), 0
        if body.add_tags:
            changed = max(changed, directory.tag(chosen, *body.add_tags, source="api").changed)
        if body.remove_tags:
            changed = max(changed, directory.untag(chosen, *body.remove_tags, source="api").changed)
        if body.attributes:
            changed = max(changed, directory.update(chosen, body.attributes, source="api").changed)
        return reply(BulkChange(len(keys), changed))


def _campaigns(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/campaigns", responses=answers(Page[Campaign], text="Imports, newest first"), operation_id="list_campaigns")
    def list_campaigns() -> Response:
        """The campaigns that people were imported for."""
        return reply(Page(items=tuple(engine.directory.campaigns())))

    @routes.post("/campaigns", responses=answers(CampaignReport, text="What was imported"), operation_id="import_campaign")
    def import_campaign(body: CampaignIn) -> Response:
        """Import people for a campaign; `undo` takes it back."""
        if bool(body.addresses) == (body.csv is not None):
            raise InvalidInput("give either addresses or csv.")
        options: dict[str, Any] = {"fields": body.fields, "tags": body.tags, "dry_run": body.dry_run, "enrich": body.enrich}
        if body.csv is None:
            return reply(engine.directory.import_campaign(body.name, body.addresses, **options))
        return reply(engine.directory.import_table(body.name, body.csv, **options))

    @routes.post(
        "/campaigns/{import_id}/undo", responses=answers(Undone, text="What was taken back"), operation_id="undo_campaign"
    )
    def undo_campaign(import_id: Annotated[str, Path(max_length=60)], body: Undo) -> Response:
        """Take an import back: who it alone brought is erased, what it set is as it was; what stays is told with the reason."""
        return reply(engine.directory.undo_import(import_id, also_enriched=body.also_enriched))


def _exchange(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/contacts/exchange", responses=answers(dict[str, Any], text="A contact file"), operation_id="write_contacts")
    def write_contacts(
        status: _Word = None, domain: _Word = None, tag: _Word = None, segment: _Word = None, attribute: _Where = None
    ) -> Response:
        """The JSON contact file keyed by e-mail, of at most 10,000 people; larger ones are written by the command line."""
        chosen = engine.directory.criteria(status=status, domain=domain, tag=tag, segment=segment, where=_short(attribute))
        _not_too_many(engine, chosen, 10_000)
        counts = {"contacts": 0, "engagements": 0, "left_out": 0}
        return reply(dict(entries(engine.parts, engine.directory.people.keys(chosen), counts)))

    @routes.post("/contacts/exchange", responses=answers(Moved, text="What was taken in"), operation_id="read_contacts")
    def read_contacts(body: dict[str, Any]) -> Response:
        """Take in a JSON contact file keyed by e-mail; with any mistake in it nothing is taken in."""
        return reply(read_document(engine.parts, body, source="api"))


def _duplicates(routes: APIRouter, engine: Engine) -> None:
    @routes.get(
        "/contacts/duplicates", responses=answers(Page[Suggestion], text="Pairs, likeliest first"), operation_id="list_duplicates"
    )
    def list_duplicates(
        min_score: Annotated[float, Query(ge=0, le=1)] = 0.6, limit: Limit = 100,
    ) -> Response:  # fmt: skip
        """Pairs of people who may be one, with a score and the reasons; nothing is merged."""
        return reply(Page(items=tuple(engine.directory.duplicates(limit=limit, min_score=min_score))))

    @routes.post("/contacts/duplicates/merge", responses=answers(MergeView, text="The merge"), operation_id="merge_duplicates")
    def merge_duplicates(body: Pair) -> Response:
        """Merge the two people of a suggestion; `POST /api/v1/merges/{merge}/undo` takes it back."""
        done = engine.directory.merge_suggestion(body.suggestion, by=body.by)
        winner, _, loser = body.suggestion.partition("~")
        return reply(MergeView(id=done.id, winner=winner, loser=loser, at=done.at, rule=done.rule, reason=done.reason))


def _short(tests: list[str] | None) -> list[str]:
    if any(len(test) > 500 for test in tests or ()):
        raise InvalidInput("a test of an attribute has more than 500 characters.")
    return tests or []


def _not_too_many(engine: Engine, chosen: Criteria, most: int) -> None:
    count = engine.directory.count(chosen)
    if count > most:
        raise InvalidInput(
            f"{count:,} people are more than the {most:,} that are sent at once.", hint="Choose fewer, or use the command line."
        )


def _csv_answer() -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "CSV", "content": {"text/csv": {"schema": {"type": "string"}}}}}
