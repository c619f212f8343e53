"""Scripts of what may happen to a handful of people, by seed: intake, identities, definitions, merges and time passing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from tailorbird.core.context import DAY, HOUR, MINUTE, ManualClock
from tailorbird.core.event import Event
from tailorbird.core.profile import Profile
from tailorbird.engine import Engine
from tailorbird.errors import TailorbirdError
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.profiles.drafts import Draft
from tailorbird.runtime.ingest import Incoming, Receipt

START = 1_700_000_000_000
FOREVER = 200 * DAY

DEFINITIONS = [
    {"kind": "segment", "name": "recent", "when": "did(page.viewed, within 1h)"},
    {"kind": "segment", "name": "buyer", "when": "sum(order.placed.total, within 2d) > 100"},
    {"kind": "segment", "name": "quiet", "when": "time_since(page.viewed) > 3h and not did(order.placed, within 1d)"},
    {"kind": "segment", "name": "french", "when": 'country = "FR"'},
    {"kind": "segment", "name": "steady", "when": 'held(country = "FR", for 6h)'},
    {"kind": "segment", "name": "path", "when": 'sequence(page.viewed where url contains "cart", order.placed, within 4h)'},
    {"kind": "segment", "name": "pals", "members": "manual"},
    {"kind": "segment", "name": "friendly", "when": 'member_of("pals") or has_tag("gold")'},
    {"kind": "segment", "name": "reachable", "when": 'consented("email", "marketing") and bucket("salt") < 60%'},
    {"kind": "segment", "name": "nobody", "when": "not did(page.viewed)"},
    {"kind": "segment", "name": "echo", "when": "count(segment.entered, within 1d) >= 4"},
    {"kind": "segment", "name": "newest", "when": "last(order.placed.total) > 50 and first(order.placed.total) < 80"},
    {"kind": "feature", "name": "spend", "value": "sum(order.placed.total, within 7d)"},
    {"kind": "subscription", "name": "hook", "events": ["segment.*"], "url": "https://example.com/hook"},
]
CHANGES = [
    {"kind": "segment", "name": "recent", "when": "did(page.viewed, within 20m)"},
    {"kind": "segment", "name": "recent", "when": "count(page.viewed, within 5h) >= 2"},
    {"kind": "segment", "name": "buyer", "when": "sum(order.placed.total, within 6h) > 60"},
    {"kind": "segment", "name": "cold", "when": "not did(order.placed, within 12h)"},
    {"kind": "segment", "name": "french", "when": 'country in ("FR", "BE")'},
    {"kind": "feature", "name": "spend", "value": "sum(order.placed.total, within 1d)"},
    {"kind": "segment", "name": "beginners", "when": 'status = "new"'},
    {"kind": "segment", "name": "moved", "when": 'count(stage.changed, within 2d) >= 2 or held(status = "engaged", for 6h)'},
    {"kind": "lifecycle", "name": "ours", "stages": [
        {"name": "new"}, {"name": "engaged", "when": "count(page.viewed, within 5h) >= 2"},
        {"name": "idle", "when": 'time_since(page.viewed) > 6h and member_of("french")'},
        {"name": "converted", "when": "count(order.placed, within 2d) >= 2", "terminal": True},
        {"name": "lost", "from_anywhere": True, "when": "time_since(page.viewed) > 3d"},
    ]},
    {"kind": "lifecycle", "name": "ours", "stages": [
        {"name": "start"}, {"name": "engaged", "when": "did(page.viewed)"}, {"name": "converted", "when": "did(order.placed)"},
        {"name": "disqualified", "from_anywhere": True, "when": 'has_tag("gold") and country = "BE"'},
    ]},
]  # fmt: skip
PEOPLE = ["ann", "bob", "cyd", "dan"]

Step = tuple[str, Any]


def make_script(seed: int, length: int = 40) -> list[Step]:
    """Return (verb, argument) pairs; the same seed always gives the same."""
    chance = random.Random(seed)
    script: list[Step] = [("apply", DEFINITIONS)]
    made = 0
    for _ in range(length):
        pick = chance.random()
        if pick < 0.25:
            script.append(("advance", chance.choice([1, MINUTE, 20 * MINUTE, HOUR, 3 * HOUR, 7 * HOUR, DAY, 2 * DAY])))
        elif pick < 0.85:
            batch = [_event(chance, made + number) for number in range(chance.randint(1, 8))]
            made += len(batch)
            script.append(("take", batch))
        elif pick < 0.87:
            to = chance.choice(["new", "verified", "engaged", "disqualified", "start", "idle"])
            script.append(("stage", (chance.choice(PEOPLE), to)))
        elif pick < 0.91:
            script.append(("apply", [chance.choice(CHANGES)]))
        elif pick < 0.92:
            script.append(("roll_back", chance.choice(["recent", "buyer", "french"])))
        elif pick < 0.94:
            script.append(("archive", chance.choice(["cold", "recent"])))
        elif pick < 0.97:
            script.append(("merge", tuple(chance.sample(PEOPLE, 2))))
        else:
            script.append(("unmerge", chance.randrange(5)))
    return script


def _event(chance: random.Random, number: int) -> Incoming:
    names: dict[str, str] = {}
    if chance.random() < 0.75:
        names["external_id"] = chance.choice(PEOPLE)
    if not names or chance.random() < 0.25:
        names["anonymous_id"] = f"device{chance.randrange(5)}"
    if chance.random() < 0.1:
        names["email"] = f"{chance.choice(PEOPLE)}@example.org"
    type_, data = chance.choice(_KINDS)(chance)
    # now and then late, or sent twice
    at = chance.choice([None, None, None, "late", "later"])
    id_ = f"id{number - 1 if chance.random() < 0.05 and number else number}"
    event = Incoming(type=type_, identifiers=names, data=data, id=id_ if chance.random() < 0.7 else None)
    event.at = {"late": -30 * MINUTE, "later": -9 * HOUR, None: None}[at]  # made absolute when it is taken in
    return event


_KINDS: Sequence[Callable[[random.Random], tuple[str, dict[str, Any]]]] = [
    lambda c: ("page.viewed", {"url": c.choice(["/home", "/cart", "/cart/pay"])}),
    lambda c: ("page.viewed", {"url": "/home"}),
    lambda c: ("order.placed", {"total": c.choice([10, 45.5, 90, None])}),
    lambda c: ("order.placed", {"total": c.choice([10, 45.5, 90])}),
    lambda c: ("profile.updated", {"attributes": {"country": c.choice(["FR", "DE", "BE", None])}}),
    lambda c: (c.choice(["tag.added", "tag.removed"]), {"tag": "gold"}),
    lambda c: (
        c.choice(["consent.granted", "consent.withdrawn"]),
        {"channel": "email", "purpose": "marketing", "explicit": c.random() < 0.5},
    ),
    lambda c: (c.choice(["member.added", "member.removed"]), {"segment": "pals"}),
    lambda c: (c.choice(["email.verified", "reply.received", "deal.won", "form.submitted"]), {}),
    lambda c: ("profile.updated", {"attributes": {"status": c.choice(["new", "Engaged", "gold", "lost", "converted", None])}}),
]


def play(engine: Engine, script: Sequence[Step], *, together: bool = True) -> list[Receipt]:
    """Do what the script says; ``together`` takes batches in one call, else event by event. Return all receipts."""
    receipts: list[Receipt] = []
    for verb, given in script:
        with suppress(TailorbirdError):  # such as archiving what is not there: the script does not know
            receipts += _do(engine, verb, given, together)
    return receipts


def _do(engine: Engine, verb: str, given: Any, together: bool) -> list[Receipt]:
    match verb:
        case "take":
            now = engine.now()
            batch = [
                Incoming(type=e.type, identifiers=e.identifiers, data=e.data, id=e.id, at=None if e.at is None else now + e.at)
                for e in given
            ]
            if together:
                return engine.take(batch)
            return [receipt for event in batch for receipt in engine.take([event])]
        case "advance":
            engine.advance_to(engine.now() + given)
        case "apply":
            engine.apply(given)
        case "roll_back":
            engine.roll_back("segment", given)
        case "archive":
            engine.archive("segment", given)
        case "merge":
            engine.merge(*given)
        case "stage":
            profile = engine.profile(given[0]).id
            return engine.take([Draft(type="stage.changed", profile=profile, data={"to": given[1]}, source="python")])
        case "unmerge":
            merges = engine.store.merges()
            if merges:
                engine.unmerge(merges[given % len(merges)].id)
    return []


def fresh(url: str = ":memory:", **settings: Any) -> Engine:
    """Return an engine over an empty store with a clock that stands still, and that delivers nothing."""
    from tailorbird.settings import Settings

    return Engine.open(url, clock=ManualClock(START), settings=Settings(deliver=False, **settings), connectors={})


def log_of(engine: Engine) -> list[tuple[Any, ...]]:
    """Return the log without the numbers of arrival."""
    return [_fact(event) for event in engine.log(limit=1_000_000)]


def _fact(event: Event) -> tuple[Any, ...]:
    return (
        event.id, event.type, event.profile, event.origin, event.at, event.received_at, event.source,
        {name: value for name, value in event.data.items() if name != "change"}, event.cause,
    )  # fmt: skip


def people_of(engine: Engine) -> dict[str, Any]:
    """Return everything that is kept of each profile, by public id."""
    store = engine.store
    profiles = store.profiles(list(range(1, store.next_profile_key())))
    memberships = store.memberships(list(profiles))
    return {
        profile.id: (
            _without_seq(profile),
            sorted((m.segment, m.entered_at, m.version) for m in memberships.get(key, ())),
            sorted((row.kind, row.value, row.profile, row.origin, row.at) for row in store.identifiers(key)),
        )
        for key, profile in profiles.items()
    }


def _without_seq(profile: Profile) -> tuple[Any, ...]:
    provenance = {name: (p.type, p.source, p.at) for name, p in profile.provenance.items()}
    return (
        profile.key, profile.kind, profile.bucket, profile.created_at, profile.attributes, provenance, profile.tags,
        profile.consents, profile.merged_into,
    )  # fmt: skip


def actions_of(engine: Engine) -> list[tuple[Any, ...]]:
    """Return the outbox: key, profile, payload and due of every action."""
    return sorted((a.key, a.profile, a.due, str(a.payload)) for a in engine.store.actions(limit=1_000_000))


def wrong_members(engine: Engine) -> list[tuple[str, set[str], set[str]]]:
    """Return (profile, expected, stored) where memberships are not what the reference evaluator says right now."""
    store, found = engine.store, []
    for profile in store.page_profiles(limit=1_000_000, kind="person"):
        history = History(profile.bucket, store.history([profile.key]).get(profile.key, ()))
        wanted = {name for name, node in engine.loop.catalog.conditions.items() if evaluate(node, history, engine.now()) is True}
        stored = {m.segment for m in store.memberships([profile.key]).get(profile.key, ())}
        if wanted != stored:
            found.append((profile.id, wanted, stored))
    return found
