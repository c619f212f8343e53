"""The small CRM: stages, engagements, notes, tasks, deals, and the people of a company."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import Page, reply
from tailorbird.api.routes.people import Ref
from tailorbird.api.shapes import Body, Limit, answers, cursor, instant
from tailorbird.engine import Engine
from tailorbird.engine.contactviews import ContactView, DealView, NoteView, PipelineRow, StageView, TaskView
from tailorbird.runtime.ingest import Receipt

__all__ = ["router"]

Id = Annotated[str, Path(min_length=1, max_length=200, description="The record's id")]
Short = Annotated[str, Field(min_length=1, max_length=200)]
Long = Annotated[str, Field(max_length=20_000)]
When = Annotated[int | Annotated[str, Field(max_length=40)] | None, Field(description="ms since 1970, or ISO 8601 text")]
Amount = Annotated[int | float | None, Field(ge=0, le=1e15)]
Currency = Annotated[str | None, Field(min_length=3, max_length=3, examples=["EUR"])]
After = Annotated[str | None, Query(description="`next` of the page before", max_length=300)]


class Stage(Body):
    """Where somebody is put, and why; a reason is needed backwards and out of a stage that is not left by itself."""

    stage: Annotated[Short, Field(examples=["engaged"])]
    reason: Long = ""


class Engagement(Body):
    """What a contact did."""

    type: Annotated[Short, Field(examples=["reply_received"], description="An engagement type, or any event type")]
    at: When = None
    id: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    metadata: Annotated[dict[str, Any], Field(default_factory=dict)]


class Note(Body):
    """A note, and who wrote it."""

    text: Annotated[Long, Field(min_length=1)]
    by: Short | None = None


class Task(Body):
    """Some work, whose it is and until when."""

    title: Annotated[Long, Field(min_length=1)]
    due: When = None
    assignee: Short | None = None


class Ending(Body):
    """What became of it, in words."""

    reason: Long = ""


class Deal(Body):
    """A deal; left out, it is in the first stage of the first pipeline."""

    name: Short
    amount: Amount = None
    currency: Currency = None
    stage: Short | None = None
    pipeline: Short | None = None
    due: When = None
    id: Short | None = None


class Move(Body):
    """Where a deal goes."""

    stage: Short
    amount: Amount = None
    currency: Currency = None


class Win(Body):
    """What a deal was won for."""

    amount: Amount = None
    currency: Currency = None


class Company(Body):
    """Which company: left out, that of the contact's domain."""

    company: Short | None = None
    attributes: Annotated[dict[str, Any], Field(default_factory=dict)]


def router(engine: Engine) -> APIRouter:
    """Return the routes of the small CRM."""
    routes = APIRouter(prefix="/api/v1", tags=["contacts"])
    _standing(routes, engine)
    _noting(routes, engine)
    _working(routes, engine)
    _selling(routes, engine)
    _belonging(routes, engine)
    return routes


def _standing(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/contacts/{ref}/stage", responses=answers(StageView, text="The stage"), operation_id="get_stage")
    def get_stage(ref: Ref) -> Response:
        """Where a contact stands in the life cycle, and how they came there."""
        return reply(engine.contacts.stage(ref))

    @routes.post("/contacts/{ref}/stage", responses=answers(StageView, text="The stage as it is then"), operation_id="set_stage")
    def set_stage(ref: Ref, body: Stage) -> Response:
        """Put a contact into a stage because a person says so."""
        return reply(engine.contacts.set_stage(ref, body.stage, reason=body.reason, source="api"))

    @routes.post("/contacts/{ref}/engagements", responses=answers(Receipt, text="The receipt"), operation_id="record_engagement")
    def record_engagement(ref: Ref, body: Engagement) -> Response:
        """Note that a contact did something; a reply with text gets its sentiment."""
        return reply(
            engine.contacts.record_engagement(
                ref, body.type, at=instant(body.at, "at"), metadata=body.metadata, id=body.id, source="api"
            )
        )


def _noting(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/contacts/{ref}/notes", responses=answers(Page[NoteView], text="Notes, newest first"), operation_id="list_notes")
    def list_notes(ref: Ref, limit: Limit = 100) -> Response:
        """The notes about a contact or company, newest first."""
        return reply(Page(items=tuple(engine.contacts.notes(ref, limit=limit))))

    @routes.post("/contacts/{ref}/notes", responses=answers(NoteView, text="The note"), operation_id="add_note")
    def add_note(ref: Ref, body: Note) -> Response:
        """Write a note about a contact or company."""
        return reply(engine.contacts.add_note(ref, body.text, by=body.by, source="api"))


def _working(routes: APIRouter, engine: Engine) -> None:
    @routes.post("/contacts/{ref}/tasks", responses=answers(TaskView, text="The task"), operation_id="add_task")
    def add_task(ref: Ref, body: Task) -> Response:
        """Give a person some work about a contact or company."""
        due = instant(body.due, "due")
        return reply(engine.contacts.add_task(ref, body.title, due=due, assignee=body.assignee, source="api"))

    @routes.get("/tasks", responses=answers(Page[TaskView], text="Tasks, those due first first"), operation_id="list_tasks")
    def list_tasks(
        status: Annotated[Literal["open", "done", "cancelled"] | None, Query(description="Left out: of any")] = None,
        assignee: Annotated[str | None, Query(max_length=200)] = None,
        ref: Annotated[str | None, Query(max_length=300, description="Only about this contact or company")] = None,
        due_before: Annotated[str | None, Query(max_length=40)] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """Work that was given to people, what is due first first."""
        until = instant(due_before, "due_before")
        found = engine.contacts.tasks(assignee=assignee, status=status, ref=ref, due_before=until, after=after, limit=limit)
        return reply(Page(items=found.tasks, next=found.next))

    @routes.post("/tasks/{id}/complete", responses=answers(TaskView, text="The task"), operation_id="complete_task")
    def complete_task(id: Id, body: Ending) -> Response:
        """Note that a task is done."""
        return reply(engine.contacts.complete_task(id, outcome=body.reason, source="api"))

    @routes.post("/tasks/{id}/cancel", responses=answers(TaskView, text="The task"), operation_id="cancel_task")
    def cancel_task(id: Id, body: Ending) -> Response:
        """Take a task back."""
        return reply(engine.contacts.cancel_task(id, reason=body.reason, source="api"))


def _selling(routes: APIRouter, engine: Engine) -> None:
    @routes.post("/contacts/{ref}/deals", responses=answers(DealView, text="The deal"), operation_id="open_deal")
    def open_deal(ref: Ref, body: Deal) -> Response:
        """Open a deal with a contact or company."""
        return reply(
            engine.contacts.open_deal(
                ref, body.name, amount=body.amount, currency=body.currency, stage=body.stage, pipeline=body.pipeline,
                due=instant(body.due, "due"), id=body.id, source="api",
            )
        )  # fmt: skip

    @routes.get("/deals", responses=answers(Page[DealView], text="Deals"), operation_id="list_deals")
    def list_deals(
        status: Annotated[Literal["open", "won", "lost"] | None, Query(description="Left out: of any")] = None,
        stage: Annotated[str | None, Query(max_length=200)] = None,
        ref: Annotated[str | None, Query(max_length=300, description="Only with this contact or company")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> Response:
        """Deals, those expected to close first first."""
        found = engine.contacts.deals(ref=ref, status=status, stage=stage, after=after, limit=limit)
        return reply(Page(items=found.deals, next=found.next))

    @routes.post("/deals/{id}/move", responses=answers(DealView, text="The deal"), operation_id="move_deal")
    def move_deal(id: Id, body: Move) -> Response:
        """Move an open deal to another stage."""
        return reply(engine.contacts.move_deal(id, body.stage, amount=body.amount, currency=body.currency, source="api"))

    @routes.post("/deals/{id}/win", responses=answers(DealView, text="The deal"), operation_id="win_deal")
    def win_deal(id: Id, body: Win) -> Response:
        """Note that a deal was won; the contact moves on in the life cycle."""
        return reply(engine.contacts.win_deal(id, amount=body.amount, currency=body.currency, source="api"))

    @routes.post("/deals/{id}/lose", responses=answers(DealView, text="The deal"), operation_id="lose_deal")
    def lose_deal(id: Id, body: Ending) -> Response:
        """Note that a deal was lost, and why."""
        return reply(engine.contacts.lose_deal(id, reason=body.reason, source="api"))

    @routes.get("/pipeline", responses=answers(Page[PipelineRow], text="Stages with their deals"), operation_id="get_pipeline")
    def get_pipeline() -> Response:
        """How many deals of what worth are in each stage, by currency."""
        return reply(Page(items=tuple(engine.contacts.pipeline())))


def _belonging(routes: APIRouter, engine: Engine) -> None:
    @routes.post(
        "/contacts/{ref}/company", responses=answers(Page[ContactView], text="Their contacts"), operation_id="link_company"
    )
    def link_company(ref: Ref, body: Company) -> Response:
        """Say for which company a contact works; answers with the first of that company's contacts."""
        company = engine.contacts.link_company(ref, body.company, attributes=body.attributes, source="api")
        found = engine.contacts.company_contacts(company)
        return reply(Page(items=found.contacts, next=found.next))

    @routes.get(
        "/companies/{ref}/contacts", responses=answers(Page[ContactView], text="Contacts"), operation_id="list_company_contacts"
    )
    def list_company_contacts(
        ref: Ref,
        after: Annotated[str | None, Query(description="`next` of the page before", max_length=40)] = None,
        limit: Limit = 50,
    ) -> Response:
        """The people who work for a company, named by its company id or a public id."""
        found = engine.contacts.company_contacts(ref, after=cursor(after, "after"), limit=limit)
        return reply(Page(items=found.contacts, next=found.next))
