"""Planning: who is asked next about a person, given what is known and what was asked before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from tailorbird.core.action import Action, Told
from tailorbird.core.context import DAY
from tailorbird.core.event import CONSENT_GRANTED, CONSENT_WITHDRAWN, PROFILE_UPDATED, TAG_ADDED, Event, Json
from tailorbird.core.ids import digest
from tailorbird.core.profile import Profile
from tailorbird.enrichment.answers import FAILED, FINISHED, MISSED, RECEIVED
from tailorbird.enrichment.chain import Chain, Link
from tailorbird.enrichment.questions import named, question, sufficient
from tailorbird.expr.evaluate import History, evaluate
from tailorbird.expr.nodes import Node

__all__ = ["CONCLUDE", "ENRICH", "PATIENCE", "Known", "Run", "Step", "advance", "begin", "conclude", "facts"]

ENRICH: Final = "person.enrich"
"""The kind of the actions that ask a provider about a person, and of the one that concludes a run."""

CONCLUDE: Final = "enrichment"
"""The name of the connector that concludes a run."""

PATIENCE: Final = 2 * DAY
"""How long after a run began a provider is still waited for."""

Condition = Callable[[str], Node]
"""Returns the resolved node of a condition's text."""


class Run(msgspec.Struct, kw_only=True):
    """One walk of one person through a chain; it travels in payloads and events, so that nothing else has to be remembered.

    ``given`` are identifiers that a question may hold; ``prior`` names each provider's last evidence before the run;
    ``asked`` and ``skipped`` (why) say what has been done; ``verification`` is what is known of the address.
    """

    id: str
    definition: str
    at: int
    given: dict[str, str] = {}
    prior: dict[str, str] = {}
    asked: list[str] = []
    skipped: dict[str, str] = {}
    verification: str | None = None


class Known(msgspec.Struct, kw_only=True):
    """What was asked about a person before: for each provider the last evidence and why it need not be asked again."""

    last: dict[str, str] = {}
    fresh: dict[str, str] = {}
    verification: str | None = None

    @classmethod
    def of(cls, chain: Chain, events: Iterable[Event], asked: str, now: int) -> Known:
        """Read a person's ``enrichment.…`` events. Paid answers count for all questions, free ones for the same question."""
        known = cls()
        for event in events:
            provider = event.data.get("provider")
            if event.type not in (RECEIVED, MISSED, FAILED) or not isinstance(provider, str):
                continue
            known.last[provider] = event.id
            paid = event.type == RECEIVED or bool(event.data.get("credits"))
            same = event.type == MISSED and event.data.get("question") == asked
            if now - event.at < chain.again_after and (paid or same):
                days = (now - event.at) // DAY
                known.fresh[provider] = f"asked {days} days ago; again after {chain.again_after // DAY} days"
                known.verification = event.data.get("verification") or known.verification
        return known


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What comes next: an action that asks ``provider``, or one that concludes the run (None)."""

    provider: str | None
    action: Action


def facts(profile: Profile, now: int) -> History:
    """Return a history that says of a person what the profile says: attributes, tags and consent, as of now."""

    def event(seq: int, type_: str, data: dict[str, Json]) -> Event:
        return Event(id=str(seq), type=type_, profile=profile.key, at=now, received_at=now, data=data, seq=seq)

    events = [event(1, PROFILE_UPDATED, {"attributes": profile.attributes})]
    events += [event(2 + n, TAG_ADDED, {"tag": tag}) for n, tag in enumerate(profile.tags)]
    for n, (key, given) in enumerate(sorted(profile.consents.items())):
        channel, _, purpose = key.partition("/")
        type_ = CONSENT_GRANTED if given else CONSENT_WITHDRAWN
        events.append(event(100_000 + n, type_, {"channel": channel, "purpose": purpose}))
    return History(profile.bucket, events)


def begin(
    chain: Chain, profile: Profile, known: Known, given: Mapping[str, str], now: int, *,
    ready: Mapping[str, str], condition: Condition, force: bool = False,
) -> tuple[Step | None, Run]:  # fmt: skip
    """Return the first step of a new run, None where nobody has to be asked; the run then says why in ``skipped``.

    ``ready`` maps providers to why they cannot be asked ("" where they can). With ``force`` fresh answers do not count.
    """
    skipped = {} if force else dict(known.fresh)
    seed = (chain.name, profile.id, *(f"{k}={v}" for k, v in sorted(known.last.items())))
    run = Run(
        id=digest("run", *seed), definition=chain.name, at=now, given=dict(given), prior=dict(known.last), skipped=skipped,
        verification=None if force else known.verification,
    )  # fmt: skip
    step = advance(chain, run, profile, now, ready=ready, condition=condition)
    return (None if step.provider is None else step), run


def advance(
    chain: Chain, run: Run, profile: Profile, now: int, *,
    ready: Mapping[str, str], condition: Condition, cause: str | None = None,
) -> Step:  # fmt: skip
    """Return the next step of a run and note on it who is passed over and why."""
    asked = question(profile.attributes, run.given)
    history: History | None = None
    for link in chain.links:
        name = link.provider
        if name in run.asked or name in run.skipped:
            continue
        reason = ready.get(name, "there is no connector for it")
        if not reason and not sufficient(asked):
            reason = "not enough is known to find the person"
        if not reason and link.when is not None:
            history = history or facts(profile, now)
            if evaluate(condition(link.when), history, now) is not True:
                reason = f"not when {link.when}"
        if reason:
            run.skipped[name] = reason
            continue
        run.asked.append(name)
        return Step(provider=name, action=_ask(chain, link, run, profile, asked, now, cause))
    return Step(provider=None, action=_end(chain, run, profile, now, cause))


def conclude(payload: Mapping[str, Any], now: int) -> tuple[Told, ...]:
    """Return the events that end a run: what is made of an address that nobody has judged, and that the run is finished.

    An assumption is recorded as such, never as somebody's word; it does not replace a provider's.
    """
    run: dict[str, Any] = payload["run"]
    events: list[Told] = []
    if payload.get("judges") and run.get("given", {}).get("email") and run.get("verification") not in ("verified", "invalid"):
        assumed = bool(payload.get("assume_valid"))
        said: dict[str, Json] = {"email_verification": "assumed" if assumed else "unknown"}
        if assumed:
            said["email_verified"] = True
        events.append(Told(type=PROFILE_UPDATED, data={"attributes": said}, source=CONCLUDE, over=(CONCLUDE,)))
        if assumed:
            events.append(Told(type="email.verified", data={"how": "assumed", "by": None}, source=CONCLUDE))
    data = {"definition": run["definition"], "run": run["id"], "asked": run.get("asked"), "skipped": run.get("skipped")}
    events.append(Told(type=FINISHED, data={**data, "began": run["at"]}, source=CONCLUDE))
    return tuple(events)


def _ask(chain: Chain, link: Link, run: Run, profile: Profile, asked: dict[str, str], now: int, cause: str | None) -> Action:
    payload: dict[str, Json] = {
        "provider": link.provider, "question": asked, "question_digest": named(asked), "take": list(link.take),
        "over": {name: list(chain.may_replace(link.provider, name)) for name in link.take}, "verifies": link.verifies,
        "cost": link.cost, "budget": link.budget, "limits": link.limits, "concurrency": link.concurrency,
        "options": {"reveal_phone_number": link.reveal_phone, "reveal_personal_emails": link.reveal_personal_emails},
        "run": msgspec.to_builtins(run), "give_up_at": run.at + PATIENCE,
    }  # fmt: skip
    # One question per person, provider and last answer, whichever run asks it.
    key = "enr_" + digest("ask", link.provider, profile.id, run.prior.get(link.provider, ""))
    return Action(
        key=key, kind=ENRICH, connector=link.provider, payload=payload, profile=profile.key, due=now, created_at=now, cause=cause
    )


def _end(chain: Chain, run: Run, profile: Profile, now: int, cause: str | None) -> Action:
    payload: dict[str, Json] = {
        "run": msgspec.to_builtins(run), "judges": chain.verifies, "assume_valid": chain.assume_valid
    }  # fmt: skip
    key = "enr_" + digest("conclude", profile.id, run.id)
    return Action(
        key=key, kind=ENRICH, connector=CONCLUDE, payload=payload, profile=profile.key, due=now, created_at=now, cause=cause
    )
