"""What the small CRM answers with: plain values that every face can encode; instants in ms since 1970 (UTC)."""

from __future__ import annotations

import msgspec

__all__ = [
    "ContactPage", "ContactView", "DealPage", "DealView", "NoteView", "PipelineRow", "StageMove", "StageView", "TaskPage",
    "TaskView",
]  # fmt: skip


class StageMove(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a stage: ``rule`` is when (a condition), given (a source), merge or hand; ``cause`` the event behind it."""

    at: int
    before: str | None
    to: str
    rule: str
    reason: str
    source: str
    event: str
    cause: str | None = None


class StageView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a contact stands in the life cycle. ``since`` is None for who never left the first stage.

    ``stages`` are all there are, in their order; ``moves`` the changes so far, newest first.
    """

    profile: str
    lifecycle: str
    stage: str
    since: int | None
    stages: tuple[str, ...]
    moves: tuple[StageMove, ...] = ()


class NoteView(msgspec.Struct, frozen=True, kw_only=True):
    """A note about a contact or a company."""

    id: str
    profile: str
    text: str
    by: str | None
    at: int


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """Work given to a person about a contact. ``status`` is open, done or cancelled; ``due`` in ms, None: any time."""

    id: str
    profile: str
    title: str
    status: str
    assignee: str | None
    due: int | None
    at: int
    changed_at: int
    outcome: str | None = None


class TaskPage(msgspec.Struct, frozen=True):
    """Some tasks, those due first first; ``next`` is the cursor of those after, None at the end."""

    tasks: tuple[TaskView, ...]
    next: str | None = None


class DealView(msgspec.Struct, frozen=True, kw_only=True):
    """A deal. ``status`` is open, won or lost, ``probability`` that it is won (1 and 0 once that is known), ``due`` when it
    is expected to close."""

    id: str
    profile: str
    name: str
    status: str
    pipeline: str
    stage: str | None
    probability: float
    amount: float | None
    currency: str | None
    due: int | None
    at: int
    changed_at: int
    reason: str | None = None


class DealPage(msgspec.Struct, frozen=True):
    """Some deals, those expected to close first first; ``next`` is the cursor of those after, None at the end."""

    deals: tuple[DealView, ...]
    next: str | None = None


class PipelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """All deals in one stage and one currency: how many, the sum of their amounts, and that weighted by the probability."""

    stage: str
    status: str
    probability: float
    currency: str | None
    deals: int
    amount: float
    weighted: float


class ContactView(msgspec.Struct, frozen=True, kw_only=True):
    """A contact as a list shows them."""

    id: str
    name: str
    title: str | None
    stage: str


class ContactPage(msgspec.Struct, frozen=True):
    """Some contacts; ``next`` is the cursor of those after, None at the end."""

    contacts: tuple[ContactView, ...]
    next: str | None = None
