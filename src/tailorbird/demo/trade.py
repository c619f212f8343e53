"""The shop's trade: a handful of buyers at other companies, with what a small CRM keeps of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tailorbird.core.context import DAY, HOUR
from tailorbird.core.event import CONSENT_GRANTED, PROFILE_UPDATED, TAG_ADDED, Json

__all__ = ["BUYERS", "Buyer", "trade_rows"]


class Buyer(NamedTuple):
    """Somebody who buys for a company, and how they like to be written to; ``since`` is in days before the end."""

    first_name: str
    last_name: str
    title: str
    domain: str
    company: str
    tier: str
    style: str
    language: str
    since: int

    @property
    def email(self) -> str:
        """Where mail goes."""
        return f"{self.first_name}.{self.last_name}@{self.domain}".lower()


BUYERS: Final = (
    Buyer("Nora", "Lind", "Head of Purchasing", "fjord-outdoor.example", "Fjord Outdoor", "scale", "casual", "en", 70),
    Buyer("Oskar", "Dahl", "Store Manager", "fjord-outdoor.example", "Fjord Outdoor", "scale", "formal", "sv", 64),
    Buyer("Paula", "Reyes", "Buyer", "sierra-boots.example", "Sierra Boots", "growth", "formal", "es", 48),
    Buyer("Remy", "Caron", "Founder", "atelier-caron.example", "Atelier Caron", "starter", "casual", "fr", 33),
    Buyer("Susan", "Blake", "Category Lead", "blake-and-sons.example", "Blake and Sons", "growth", "formal", "en", 25),
    Buyer("Timo", "Weiss", "Buyer", "alpenladen.example", "Alpenladen", "starter", "casual", "de", 12),
    Buyer("Ursula", "Graf", "Owner", "alpenladen.example", "Alpenladen", "starter", "formal", "de", 6),
    Buyer("Vic", "Moran", "Assistant", "blake-and-sons.example", "Blake and Sons", "growth", "casual", "en", 2),
)
"""People of the trade; none of them exists, and their domains are reserved."""

_SAID: Final[dict[str, tuple[tuple[int, str, dict[str, Json]], ...]]] = {
    "Nora": (
        (2, "email.opened", {"campaign": "trade fair"}),
        (3, "reply.received", {"text": "This looks great, thank you! Send me the wholesale prices.", "sentiment": "positive"}),
        (5, "call.completed", {"minutes": 25}),
        (6, "deal.opened", {"deal": "demo-fjord", "name": "Winter range", "stage": "qualified", "amount": 18_500, "currency": "EUR"}),
        (20, "deal.moved", {"deal": "demo-fjord", "stage": "negotiation"}),
        (21, "task.created", {"task": "demo-fjord-terms", "title": "Send the terms of payment", "assignee": "mia"}),
        (22, "note.added", {"note": "demo-fjord-note", "text": "Decides together with Oskar.", "by": "mia"}),
    ),
    "Oskar": ((9, "demo.attended", {"room": "2"}), (12, "email.opened", {"campaign": "trade fair"})),
    "Paula": (
        (1, "form.submitted", {"form": "wholesale"}),
        (4, "deal.opened", {"deal": "demo-sierra", "name": "Boots for spring", "stage": "qualified", "amount": 7_200, "currency": "EUR"}),
        (15, "deal.moved", {"deal": "demo-sierra", "stage": "proposal"}),
        (30, "deal.won", {"deal": "demo-sierra", "amount": 6_900, "currency": "EUR"}),
    ),
    "Remy": (
        (2, "reply.received", {"text": "Too expensive for us, I am disappointed.", "sentiment": "negative"}),
        (3, "deal.opened", {"deal": "demo-caron", "name": "Bags", "stage": "qualified", "amount": 1_900, "currency": "EUR"}),
        (10, "deal.lost", {"deal": "demo-caron", "reason": "price"}),
    ),
    "Susan": (
        (1, "call.scheduled", {"by": "mia"}),
        (3, "deal.opened", {"deal": "demo-blake", "name": "Rain jackets", "stage": "proposal", "amount": 11_000, "currency": "GBP"}),
        (4, "task.created", {"task": "demo-blake-call", "title": "Call about sizes", "assignee": "mia"}),
        (8, "task.completed", {"task": "demo-blake-call", "outcome": "all sizes in stock"}),
    ),
    "Timo": ((2, "website.visited", {"url": "/wholesale"}),),
}  # fmt: skip
_AGREED: Final = frozenset({"Nora", "Paula", "Susan", "Timo"})
_UNJUDGED: Final = frozenset({"Vic"})


def trade_rows(end: int) -> Iterator[dict[str, Any]]:
    """Yield what is known of the buyers and what they did until ``end`` (ms), as rows that intake accepts, each person in order."""
    for buyer in BUYERS:
        begun = end - buyer.since * DAY
        attributes: dict[str, Json] = {
            **{name: getattr(buyer, name) for name in ("first_name", "last_name", "title", "company", "domain", "style", "language")},
            "email": buyer.email, "account": {"tier": buyer.tier, "seats": 1}, "signup_source": "trade fair",
        }  # fmt: skip
        facts: list[tuple[int, str, dict[str, Json]]] = [
            (begun, PROFILE_UPDATED, {"attributes": attributes}), (begun, TAG_ADDED, {"tag": "trade"}),
        ]  # fmt: skip
        if buyer.first_name in _AGREED:
            said = {"channel": "email", "purpose": "marketing", "explicit": True, "proof": {"form": "trade fair"}}
            facts.append((begun + HOUR, CONSENT_GRANTED, said))
        if buyer.first_name not in _UNJUDGED:
            facts.append((begun + 2 * HOUR, "email.verified", {"how": "verified", "by": "demo"}))
        facts += [(begun + days * DAY, type_, data) for days, type_, data in _SAID.get(buyer.first_name, ())]
        for place, (at, type_, data) in enumerate(facts):
            yield {
                "id": f"demo-trade-{buyer.first_name.lower()}-{place:02d}", "type": type_, "identifiers": {"email": buyer.email},
                "data": data, "at": min(at, end), "source": "demo",
            }  # fmt: skip
