"""What happens in the demonstration shop: the same rows for the same seed and end, on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tailorbird.core.context import DAY, HOUR, MINUTE, SECOND
from tailorbird.core.event import (
    CONSENT_GRANTED,
    CONSENT_WITHDRAWN,
    PROFILE_UPDATED,
    TAG_ADDED,
    TAG_REMOVED,
    Json,
)
from tailorbird.demo.chance import Chance, Weighted
from tailorbird.demo.people import PERSONAS, attributes_of, email_of, phone_of

__all__ = ["DAYS", "PROFILES", "rows"]

DAYS: Final = 120
"""How many days the shop's history spans."""
PROFILES: Final = 6_000
"""How many people visit, companies not counted."""
COMPANIES: Final = 60

_SHOP: Final = "https://shop.example.com"
_HOURS: Final = Weighted(*enumerate((1, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 11, 13, 11, 10, 10, 10, 11, 13, 16, 18, 16, 9, 4)))
_WEEKDAYS: Final = (0.9, 0.95, 0.95, 1.0, 1.05, 1.0, 0.8)  # Monday first
_PERSONAS: Final = Weighted(*((item, item.share) for item in PERSONAS))
_REFERRERS: Final = Weighted(
    ("", 40), ("https://www.google.com/", 30), ("https://www.instagram.com/", 10), ("https://mail.example.com/", 10),
    ("https://blog.example.org/best-shoes", 6), ("https://partner.example.net/", 4),
)  # fmt: skip
_PAGES: Final = Weighted(
    (("/", "Welcome"), 30), (("/sale", "Sale"), 16), (("/blog/sizing", "How to find your size"), 8), (("/about", "About us"), 5),
    (("/help/returns", "Returns"), 6), (("/new", "New arrivals"), 18), (("/stores", "Our stores"), 4),
)  # fmt: skip
_SHELVES: Final = {"shoes": (59, 149), "jackets": (89, 299), "shirts": (19, 69), "bags": (39, 219), "outdoor": (24, 399)}
_CATEGORIES: Final = Weighted(("shoes", 30), ("shirts", 28), ("jackets", 16), ("bags", 14), ("outdoor", 12))
_COUPONS: Final = ("WELCOME10", "SPRING15", "FREESHIP", "VIP20")
_MAILS: Final = Weighted(("weekly_news", 60), ("sale_alert", 25), ("product_tips", 15))
_TOPICS: Final = Weighted(("delivery", 40), ("return", 30), ("payment", 15), ("account", 15))
_INDUSTRIES: Final = ("retail", "travel", "software", "health", "education")

Fact = tuple[int, int, str, Any]
"""(at, who, type, data); identifiers are added when the row is written."""


def rows(end: int, *, seed: int = 1, profiles: int = PROFILES, days: int = DAYS) -> Iterator[dict[str, Json]]:
    """Yield everything that happened in the shop until ``end``, in the order of time, as rows that intake accepts.

    A row has ``id type kind identifiers data at source``; ``at`` is in ms. Visitors come anonymous; most say later who they
    are, with the ``anonymous_id`` that joins what they did before. About 28 rows a person.
    """
    start = end - days * DAY
    facts: list[Fact] = []
    people: list[_Person] = []
    for number in range(profiles):
        person = _Person(number, Chance(f"shop:{seed}:{number}"), start, end)
        person.live()
        people.append(person)
        facts.extend(person.facts)
        person.facts = []
    facts.sort(key=_in_time)
    for index, row in enumerate(_companies(seed, start)):
        yield {"id": f"demo-{seed}-company-{index:04d}", **row}
    for index, (at, who, type_, data) in enumerate(facts):
        yield {
            "id": f"demo-{seed}-{index:07d}", "type": type_, "kind": "person",
            "identifiers": people[who].identifiers(at, type_), "data": data, "at": at, "source": "demo",
        }  # fmt: skip


def _in_time(fact: Fact) -> tuple[int, int]:
    return fact[0], fact[1]


def _companies(seed: int, start: int) -> Iterator[dict[str, Json]]:
    chance = Chance(f"shop:{seed}:companies")
    for number in range(COMPANIES):
        attributes = {
            "name": f"Company {number + 1}", "industry": chance.pick(_INDUSTRIES), "employees": chance.integer(3, 900),
        }  # fmt: skip
        yield {
            "type": PROFILE_UPDATED, "kind": "company", "identifiers": {"external_id": f"company_{number:03d}"},
            "data": {"attributes": attributes}, "at": start + number * MINUTE, "source": "demo",
        }  # fmt: skip


def _product(chance: Chance) -> dict[str, Json]:
    category = chance.draw(_CATEGORIES)
    least, most = _SHELVES[category]
    number = chance.integer(1, 12)
    price = least + (most - least) * (number * 7 % 12) / 11
    return {"product_id": f"{category}-{number:02d}", "category": category, "price": round(price, 2)}


def _day(instant: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant)).date().isoformat()


class _Person:
    """One visitor: decides who they are, then lives through the days and notes what they did."""

    def __init__(self, number: int, chance: Chance, start: int, end: int) -> None:
        self.number, self.chance, self.end = number, chance, end
        self.facts: list[Fact] = []
        self.persona = persona = chance.draw(_PERSONAS)
        self.first = max(start, end - int(chance.between(*persona.joined) * DAY))
        self.last = min(end, self.first + int(chance.between(*persona.stays) * DAY))
        self.known_at = end + 1
        self.names: Mapping[str, str] = {}
        self.attributes: dict[str, Json] = {}
        self.consents_until = 0
        self.cart: list[dict[str, Json]] = []
        self.orders = 0

    def note(self, at: int, type_: str, data: dict[str, Json]) -> None:
        if at <= self.end:
            self.facts.append((at, self.number, type_, data))

    def identifiers(self, at: int, type_: str) -> dict[str, Json]:
        anonymous = {"anonymous_id": f"visitor-{self.number:05d}"}
        if at < self.known_at:
            return anonymous
        if at == self.known_at and type_ == PROFILE_UPDATED:
            return {**self.names, **anonymous}
        return {"external_id": self.names["external_id"], **anonymous}

    def live(self) -> None:
        """Live from the first visit to the last."""
        visits = self._visit_times()
        self._become_known(visits)
        for at in visits:
            self._visit(at)
        if self.known_at <= self.end:
            self._mails()
            self._trial()
            self._tickets()

    def _visit_times(self) -> list[int]:
        chance, at = self.chance, self.first
        times: list[int] = []
        while at <= self.last:
            day = at // DAY
            # 1970-01-01 was a Thursday
            if not times or chance.happens(_WEEKDAYS[(day + 3) % 7] / 1.05):
                hour = chance.draw(_HOURS)
                assert isinstance(hour, int)
                moment = day * DAY + hour * HOUR + int(chance.uniform() * HOUR)
                if self.first - DAY <= moment <= self.end:
                    times.append(moment)
            at += max(HOUR, int(chance.gap(7 * DAY / self.persona.visits)))
        return sorted(times)

    def _become_known(self, visits: list[int]) -> None:
        chance = self.chance
        if not visits or not chance.happens(self.persona.identifies):
            return
        self.known_at = visits[min(chance.integer(0, 2), len(visits) - 1)] + 4 * MINUTE
        if self.known_at > self.end:
            return
        self.attributes = attributes_of(chance, self.persona)
        names = {"external_id": f"cust_{self.number:05d}"}
        if chance.happens(0.97):
            names["email"] = self.attributes["email"] = email_of(self.attributes, self.number)
        if chance.happens(0.4):
            names["phone"] = self.attributes["phone"] = phone_of(chance, self.attributes["country"])
        if chance.happens(0.05):
            self.attributes["account"] = {
                **(self.attributes.get("account") or {"tier": "starter", "seats": chance.integer(1, 9)}),
                "company": f"company_{chance.integer(0, COMPANIES - 1):03d}",
            }
        self.names = names
        self.note(self.known_at, PROFILE_UPDATED, {"attributes": dict(self.attributes)})
        self._consent()

    def _consent(self) -> None:
        chance, at = self.chance, self.known_at + 20 * SECOND
        if "email" not in self.names or not chance.happens(self.persona.consent):
            return
        given = {"channel": "email", "purpose": "marketing"}
        proof = {"form": "signup", "text": "Yes, write to me about news and offers.", "version": 3}
        self.note(at, CONSENT_GRANTED, {**given, "explicit": True, "proof": proof})
        self.consents_until = self.end + 1
        if "phone" in self.names and chance.happens(0.5):
            self.note(at, CONSENT_GRANTED, {"channel": "sms", "purpose": "marketing", "explicit": True, "proof": proof})
        if chance.happens(0.6):
            self.note(at + SECOND, TAG_ADDED, {"tag": "newsletter"})
        if chance.happens(0.12):
            self.consents_until = at + int(chance.between(3, 80) * DAY)
            self.note(self.consents_until, CONSENT_WITHDRAWN, {**given, "proof": {"link": "unsubscribe"}})
            self.note(self.consents_until + SECOND, TAG_REMOVED, {"tag": "newsletter"})

    def _visit(self, at: int) -> None:
        chance, persona = self.chance, self.persona
        referrer = chance.draw(_REFERRERS)
        pages = 1 + chance.count(persona.pages - 1)
        for step in range(pages):
            path, title = self._page(step)
            data: dict[str, Json] = {"url": _SHOP + path, "title": title}
            if step == 0 and referrer:
                data["referrer"] = referrer
            self.note(at, "page.viewed", data)
            at += int(chance.between(15, 150)) * SECOND
        for _ in range(chance.count(persona.product)):
            product = _product(chance)
            self.note(at, "product.viewed", product)
            self.cart.append(product)
            at += int(chance.between(20, 120)) * SECOND
        if self.cart and chance.happens(persona.cart):
            self._fill_cart(max(at, self.known_at + MINUTE) if at < self.known_at < at + HOUR else at)
        self.cart = self.cart[-3:]

    def _page(self, step: int) -> tuple[str, str]:
        if step == 1 and self.chance.happens(self.persona.pricing):
            return "/pricing", "Plans and prices"
        if self.persona.coupon > 0.5 and self.chance.happens(0.4):
            return "/sale", "Sale"
        return self.chance.draw(_PAGES)

    def _fill_cart(self, at: int) -> None:
        chance, persona = self.chance, self.persona
        items = self.cart[-max(1, chance.count(persona.items)) :]
        total = round(sum(item["price"] for item in items), 2)
        self.note(at, "cart.updated", {"items": len(items), "total": total})
        if at < self.known_at or not chance.happens(persona.order):
            return
        self.orders += 1
        order: dict[str, Json] = {
            "order_id": f"o-{self.number:05d}-{self.orders:02d}", "total": total,
            "items": len(items), "category": items[0]["category"],
        }  # fmt: skip
        if chance.happens(persona.coupon):
            order["coupon"] = chance.pick(_COUPONS)
            order["total"] = round(total * 0.85, 2)
        self.note(at + 3 * MINUTE, "order.placed", order)
        self.cart = []
        if self.orders == 8:
            self.note(at + 4 * MINUTE, TAG_ADDED, {"tag": "regular"})

    def _mails(self) -> None:
        chance = self.chance
        at = self.known_at + int(chance.between(2, 14) * DAY)
        while at < min(self.consents_until, self.end):
            mail = {"message": chance.draw(_MAILS), "campaign": f"w{at // (7 * DAY)}"}
            self.note(at, "email.sent", mail)
            if at <= self.last + 7 * DAY and chance.happens(self.persona.opens):
                opened = at + int(chance.gap(6 * HOUR)) + MINUTE
                self.note(opened, "email.opened", mail)
                if chance.happens(0.3):
                    self.note(opened + 40 * SECOND, "email.clicked", {**mail, "url": f"{_SHOP}/sale"})
            at += int(chance.between(9, 19) * DAY)

    def _trial(self) -> None:
        chance = self.chance
        if not chance.happens(self.persona.trial):
            return
        at = self.known_at + int(chance.between(0, 3) * DAY) + 10 * MINUTE
        self.note(at, "trial.started", {"plan": "pro", "days": 14})
        self.note(at + SECOND, PROFILE_UPDATED, {"attributes": {"plan": "trial", "renewal_date": _day(at + 14 * DAY)}})
        ends = at + 14 * DAY
        if chance.happens(0.55):
            paid = at + int(chance.between(4, 14) * DAY)
            plan = "team" if chance.happens(0.25) else "pro"
            self.note(paid, "subscription.started", {"plan": plan, "price": 49 if plan == "team" else 19})
            renewal = _day(max(paid, self.end - 29 * DAY + self.number % 29 * DAY) + 30 * DAY)
            self.note(paid + SECOND, PROFILE_UPDATED, {"attributes": {"plan": plan, "renewal_date": renewal}})
            if chance.happens(0.15):
                stopped = paid + int(chance.between(15, 70) * DAY)
                self.note(stopped, "subscription.cancelled", {"plan": plan, "reason": "price"})
                self.note(stopped + SECOND, PROFILE_UPDATED, {"attributes": {"plan": "free", "renewal_date": None}})
        else:
            self.note(ends, "trial.expired", {"plan": "pro"})
            self.note(ends + SECOND, PROFILE_UPDATED, {"attributes": {"plan": "free", "renewal_date": None}})

    def _tickets(self) -> None:
        chance = self.chance
        months = max(0, self.last - self.known_at) / (30 * DAY)
        for _ in range(chance.count(self.persona.ticket * months)):
            at = int(chance.between(self.known_at, self.last))
            self.note(at, "support.ticket_opened", {"topic": chance.draw(_TOPICS), "priority": chance.integer(1, 3)})
