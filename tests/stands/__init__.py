"""Stands for the contract suite of CRM connectors: a connector, what it speaks to, and how to make that fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tailorbird.crm.model import WebhookCall
from tailorbird.crm.port import CrmConnector


def _nothing() -> None:
    """What is written is visible at once."""


def _forged(call: WebhookCall) -> list[WebhookCall]:
    """Return the call without any header, and with another body, for whoever signs its bodies."""
    bare = WebhookCall(method=call.method, url=call.url, headers={}, body=call.body)
    other = WebhookCall(method=call.method, url=call.url, headers=call.headers, body=call.body + b" ")
    return [bare, other]


@dataclass
class Stand:
    """One connector under test, over an empty CRM (or one whose people are not told of: the suite makes its own).

    ``down`` makes the CRM fail inside the context, ``revoked`` refuse our credentials. ``settle`` waits until what was written is
    visible in searches and changes. ``activities`` returns the ids of what stands in a record's timeline, ``members`` the records of a
    segment, ``delete`` deletes a record as somebody at the CRM would, ``signed`` makes a webhook about a record as the CRM sends it
    now. ``now`` is the instant that webhooks are judged at. ``bad`` are values the CRM refuses; ``drops`` a context in which the CRM
    silently keeps back a field of that name, None where it never does.
    """

    connector: CrmConnector
    down: Callable[[], AbstractContextManager[None]]
    revoked: Callable[[], AbstractContextManager[None]]
    now: Callable[[], int]
    settle: Callable[[], None] = _nothing
    activities: Callable[[str], Sequence[Any]] | None = None
    members: Callable[[str], set[str]] | None = None
    delete: Callable[[str], None] | None = None
    signed: Callable[[str], WebhookCall] | None = None
    bad: Mapping[str, Any] | None = None
    drops: Callable[[str], AbstractContextManager[None]] | None = None
    stale_after: int | None = 10 * 60_000
    """After how many ms a webhook must be refused; None: this vendor's webhooks carry no time."""
    forged: Callable[[WebhookCall], list[WebhookCall]] = _forged
    """Makes of a good webhook those that must be refused."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Values that a new record needs in this CRM besides names and address (a company, say)."""


@dataclass
class Switch:
    """A context that sets an attribute and sets it back."""

    target: Any
    name: str
    value: Any = True
    _was: Any = None

    def __enter__(self) -> None:
        self._was = getattr(self.target, self.name)
        setattr(self.target, self.name, self.value)

    def __exit__(self, *_: object) -> None:
        setattr(self.target, self.name, self._was)
