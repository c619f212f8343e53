"""Enriching people: what it would cost, putting questions into the outbox, and how far it is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tailorbird.connectors.apollo import ApolloConnector
from tailorbird.connectors.dropcontact import DropcontactConnector
from tailorbird.connectors.enrichment import Asking, Conclusion
from tailorbird.core.action import Action, ActionStatus
from tailorbird.core.context import MINUTE, SECOND, Clock
from tailorbird.core.definition import Kind
from tailorbird.core.profile import Profile
from tailorbird.engine.credits import Credits
from tailorbird.engine.parts import Parts
from tailorbird.engine.refs import find_profile, is_public, read_ref
from tailorbird.enrichment.answers import FAILED, MISSED, RECEIVED
from tailorbird.enrichment.chain import DEFAULT, PROVIDERS, Chain
from tailorbird.enrichment.planning import CONCLUDE, ENRICH, Known, Run, Step, begin
from tailorbird.enrichment.questions import named, question
from tailorbird.errors import InvalidInput, NotFound, Unavailable
from tailorbird.expr.check import resolve
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.ports import Connector, Unit
from tailorbird.profiles.normalise import normalise
from tailorbird.runtime.enriching import Enricher, chain_of
from tailorbird.settings import Settings

__all__ = ["Begun", "Cost", "Enriching", "EnrichmentCounts", "Estimate", "ProviderCounts", "open_providers"]

_OPEN: Final = (ActionStatus.PENDING, ActionStatus.SENDING)
_EVIDENCE: Final = (RECEIVED, MISSED, FAILED)
_TOGETHER: Final = 500
_TRIES: Final = 20
_FEW: Final = 10
_PAUSE: Final = 0.05
_SOON: Final = 5 * MINUTE

Progress = Callable[[int, int], object]
"""Told how many are done and how many there are."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking to enrich somebody: ``begun``, ``running`` (it was already), or ``skipped`` and why.

    ``run`` names the walk through the chain; ``providers`` says why each that is passed over is.
    """

    profile: str
    status: str
    run: str | None = None
    provider: str | None = None
    reason: str | None = None
    providers: dict[str, str] = {}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider may cost: people it would be asked about, and credits at most; ``budget`` is what is left today."""

    provider: str
    people: int
    credits: int
    budget: int | None = None
    missing: str | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would cost at most. Conditions are judged by what is known now: later answers may save more."""

    people: int
    to_ask: int
    credits: int
    providers: tuple[Estimate, ...]
    skipped: dict[str, int] = {}


class ProviderCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider did: people it knew, did not know, and failed on; credits today and in all."""

    provider: str
    ready: bool
    received: int
    missed: int
    failed: int
    credits_today: int
    credits: int
    reason: str | None = None


class EnrichmentCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How far enrichment is: people enriched, verified, assumed and invalid; questions that wait."""

    people: int
    enriched: int
    verified: int
    assumed: int
    invalid: int
    waiting: int
    providers: tuple[ProviderCounts, ...]


def open_providers(
    settings: Settings, ledger: Credits, clock: Clock, environ: Mapping[str, str] | None = None
) -> dict[str, Connector]:
    """Return the connectors of enrichment. Keys come from the environment and are kept nowhere else."""
    keys = os.environ if environ is None else environ
    found: list[Connector] = [
        ApolloConnector(
            key=keys.get("TAILORBIRD_APOLLO_KEY", ""), webhook_url=keys.get("TAILORBIRD_APOLLO_WEBHOOK_URL", ""),
            url=settings.apollo_url, ledger=ledger, clock=clock,
        ),
        DropcontactConnector(
            key=keys.get("TAILORBIRD_DROPCONTACT_KEY", ""), url=settings.dropcontact_url,
            poll=settings.dropcontact_poll * SECOND, callback_url=keys.get("TAILORBIRD_DROPCONTACT_CALLBACK_URL", ""),
            ledger=ledger, clock=clock,
        ),
        Conclusion(clock),
    ]  # fmt: skip
    return {connector.name: connector for connector in found}


class Enriching:
    """The verbs of enrichment over an open engine; ``refs`` name people as everywhere (see ``Engine``)."""

    def __init__(self, parts: Parts, credits: Credits) -> None:
        self._parts = parts
        self._credits = credits
        self._enricher = Enricher(lambda: parts.catalog, self._ready)
        parts.loop.react(self._enricher)

    # ---- asking

    def enrich_contact(self, ref: str, *, definition: str | None = None, force: bool = False) -> Begun:
        """Begin to enrich somebody, unless that was done lately, is under way, or nobody can be asked; return which."""
        return self.enrich_batch([ref], definition=definition, force=force)[0]

    def enrich_batch(
        self, refs: Iterable[str], *, definition: str | None = None, force: bool = False, progress: Progress | None = None
    ) -> list[Begun]:
        """Begin to enrich many; return for each what came of it, in order. Questions go out as the outbox is delivered."""
        chain = self.chain(definition)
        people = self._people(refs)
        found: list[Begun] = []
        for start in range(0, len(people), _TOGETHER):
            part = people[start : start + _TOGETHER]
            found += self._begin(chain, part, force=force)
            if progress is not None:
                progress(len(found), len(people))
        return found

    def enrich_from_campaign(
        self, name: str, *, definition: str | None = None, force: bool = False, progress: Progress | None = None
    ) -> list[Begun]:
        """Begin to enrich everybody who came with a campaign (attribute ``campaign``, or the tag of that name)."""
        return self.enrich_batch(self.campaign(name), definition=definition, force=force, progress=progress)

    def campaign(self, name: str) -> list[str]:
        """Return the public ids of the people who came with a campaign; raise ``NotFound`` for one that nobody came with."""
        quoted = json.dumps(name, ensure_ascii=False)
        text = f"text(campaign) = {quoted} or has_tag({json.dumps('campaign:' + name, ensure_ascii=False)})"
        condition = resolve(parse(text), self._parts.catalog.schema, expect=Type.BOOL)
        store = self._parts.store
        keys = store.batch().members(condition, self._parts.now())
        if not keys:
            raise NotFound(
                f"Nobody came with a campaign called {name!r:.80}.", hint="Look at the attribute campaign of a profile."
            )
        profiles = store.profiles(keys)
        return [profiles[key].id for key in keys if key in profiles]

    # ---- looking

    def chain(self, name: str | None = None) -> Chain:
        """Return the chain of a name; left out, the only one that is defined, else the built-in one."""
        catalog = self._parts.catalog
        defined = [n for kind, n in sorted(catalog.definitions) if kind == Kind.ENRICHMENT]
        if name is None:
            if len(defined) > 1 and DEFAULT.name not in defined:
                raise InvalidInput(f"there are several enrichments: {', '.join(defined)}.", hint="Say which one.")
            name = defined[0] if len(defined) == 1 else DEFAULT.name
        found = chain_of(catalog, name)
        if found is None:
            raise NotFound(f"There is no enrichment called {name}.", hint=f"There are: {', '.join([*defined, DEFAULT.name])}.")
        return found

    def cost(self, refs: Iterable[str], *, definition: str | None = None, force: bool = False) -> Cost:
        """Return what enriching these people may cost at most; nothing is asked."""
        chain, now = self.chain(definition), self._parts.now()
        ready = self._ready() or {}
        people = self._people(refs)
        asked = dict.fromkeys((link.provider for link in chain.links), 0)
        skipped: dict[str, int] = {}
        to_ask = 0
        for start in range(0, len(people), _TOGETHER):
            for step, run in self._plans(chain, people[start : start + _TOGETHER], ready, now, force=force):
                if step is None:
                    reason = next(iter(run.skipped.values()), "nobody is asked")
                    skipped[reason] = skipped.get(reason, 0) + 1
                    continue
                to_ask += 1
                for provider in asked:
                    asked[provider] += provider not in run.skipped
        estimates = []
        for link in chain.links:
            left = None if link.budget is None else max(0, link.budget - self._credits.page(link.provider).today)
            estimates.append(
                Estimate(
                    provider=link.provider, people=asked[link.provider], credits=asked[link.provider] * link.cost, budget=left,
                    missing=ready.get(link.provider) or None,
                )
            )  # fmt: skip
        total = sum(item.credits for item in estimates)
        return Cost(people=len(people), to_ask=to_ask, credits=total, providers=tuple(estimates), skipped=skipped)

    def statistics(self) -> EnrichmentCounts:
        """Return how many people are enriched and verified, how each provider did, and what it was paid."""
        ready = self._ready() or {}
        providers = []
        for name in PROVIDERS:
            page = self._credits.page(name)
            counts = [self._count(f'did({type_} where provider = "{name}")') for type_ in _EVIDENCE]
            why = ready.get(name, "there is no connector for it")
            providers.append(
                ProviderCounts(
                    provider=name, ready=not why, received=counts[0], missed=counts[1], failed=counts[2],
                    credits_today=page.today, credits=page.total, reason=why or None,
                )
            )  # fmt: skip
        return EnrichmentCounts(
            people=self._parts.store.count_profiles(),
            enriched=self._count("did(enrichment.received)"),
            verified=self._count('text(email_verification) = "verified"'),
            assumed=self._count('text(email_verification) = "assumed"'),
            invalid=self._count('text(email_verification) = "invalid"'),
            waiting=len(self.waiting()),
            providers=tuple(providers),
        )

    def waiting(self) -> list[Action]:
        """Return the questions that are in the outbox and not settled."""
        found: list[Action] = []
        for status in _OPEN:
            after = 0
            while page := self._parts.store.actions(status=status, after=after, limit=1000):
                found += [action for action in page if action.kind == ENRICH]
                after = page[-1].seq
        return found

    def work(
        self, begun: Sequence[Begun], *, progress: Progress | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> int:
        """Deliver until the runs that were begun are finished, or only wait for what comes later; return how many are not.

        For the command line and scripts: a server delivers by itself.
        """
        profiles = self._parts.store.profiles_by_id([item.profile for item in begun if item.status != "skipped"])
        keys = {profile.key for profile in profiles.values()}
        total = len(keys)
        while keys:
            settled = self._parts.deliverer.run_once(wait=False)
            busy = self._busy(keys)
            if progress is not None:
                progress(total - len(busy), total)
            if not busy or min(busy.values()) > self._parts.now() + _SOON:
                return len(busy)
            if not settled:
                sleep(_PAUSE)
        return 0

    def failures(self, begun: Sequence[Begun]) -> tuple[dict[str, dict[str, int]], int]:
        """Return how often each provider failed in these runs, by reason, and how many answers with attributes they brought."""
        runs = {item.run for item in begun if item.run is not None}
        profiles = self._parts.store.profiles_by_id([item.profile for item in begun if item.run is not None])
        keys = [profile.key for profile in profiles.values()]
        found: dict[tuple[int, str], str] = {}  # a question that is given up leaves an event and a dead action: it is one
        received = 0
        for events in self._parts.store.history(keys, ["enrichment.failed", "enrichment.received"]).values():
            for event in events:
                data: dict[str, Any] = event.data
                if data["run"]["id"] not in runs:
                    continue
                if event.type == "enrichment.received":
                    received += 1
                else:
                    found[event.profile, str(data["provider"])] = str(data.get("reason") or "it gave no reason")
        for key in keys:
            for action in self._parts.store.actions(status=ActionStatus.DEAD, profile=key, limit=1000):
                said: Any = action.payload.get("run")
                if action.kind == ENRICH and isinstance(said, dict) and said.get("id") in runs:
                    found.setdefault((key, action.connector), action.error or "the question was lost")
        counts: dict[str, dict[str, int]] = {}
        for (_, provider), reason in found.items():
            reasons = counts.setdefault(provider, {})
            reasons[reason] = reasons.get(reason, 0) + 1
        return counts, received

    # ---- inside

    def _ready(self) -> dict[str, str] | None:
        connectors = self._parts.connectors
        if CONCLUDE not in connectors:
            return None
        return {name: c.missing for name, c in connectors.items() if isinstance(c, Asking)}

    def _people(self, refs: Iterable[str]) -> list[Profile]:
        """Return the profiles that these references lead to, each once; many are looked up together."""
        wanted = list(refs)
        found: dict[int, Profile] = {}
        for start in range(0, len(wanted), _TOGETHER):
            for profile in self._found(wanted[start : start + _TOGETHER]):
                found.setdefault(profile.key, profile)
        return list(found.values())

    def _found(self, refs: Sequence[str]) -> list[Profile]:
        store, region = self._parts.store, self._parts.region
        by_id = store.profiles_by_id([ref for ref in refs if is_public(ref)])
        names = {ref: normalise(*read_ref(ref), region=region) for ref in refs if ref not in by_id}
        rows = store.resolve(list(names.values()))
        by_key = store.profiles([row.profile for row in rows.values()])
        profiles: list[Profile] = []
        for ref in refs:
            row = rows.get(names[ref]) if ref in names else None
            profile = by_id.get(ref) or (by_key.get(row.profile) if row is not None else None)
            if profile is None or profile.merged_into is not None:  # through merges, or an error that names the reference
                profile = find_profile(store, ref, region=region)
            profiles.append(profile)
        return profiles

    def _plans(
        self, chain: Chain, people: Sequence[Profile], ready: Mapping[str, str], now: int, *, force: bool
    ) -> list[tuple[Step | None, Run]]:
        history = self._parts.store.history([profile.key for profile in people], _EVIDENCE)
        condition = self._enricher.condition(self._parts.catalog)
        plans = []
        for profile in people:
            given = self._given(profile)
            asked = named(question(profile.attributes, given))
            known = Known.of(chain, history.get(profile.key, ()), asked, now)
            plans.append(begin(chain, profile, known, given, now, ready=ready, condition=condition, force=force))
        return plans

    def _given(self, profile: Profile) -> dict[str, str]:
        given: dict[str, str] = {}
        for row in self._parts.store.identifiers(profile.key):
            if row.kind in ("email", "phone"):
                given.setdefault(row.kind, row.value)
        return given

    def _begin(self, chain: Chain, people: Sequence[Profile], *, force: bool) -> list[Begun]:
        now, ready = self._parts.now(), self._ready()
        if ready is None or all(ready.get(link.provider, "no connector") for link in chain.links):
            why = {link.provider: (ready or {}).get(link.provider, "there is no connector for it") for link in chain.links}
            reason = "no provider can be asked: " + "; ".join(f"{name}: {text}" for name, text in why.items())
            return [Begun(profile=p.id, status="skipped", reason=reason, providers=why) for p in people]
        found: list[Begun] = []
        admitted: list[Action] = []
        busy = self._busy({profile.key for profile in people})
        plans = self._plans(chain, people, ready, now, force=force)
        for profile, (step, run) in zip(people, plans, strict=True):
            if profile.key in busy:
                found.append(Begun(profile=profile.id, status="running", reason="it is under way"))
            elif step is None:
                reason = next(iter(run.skipped.values()), "nobody is asked")
                found.append(Begun(profile=profile.id, status="skipped", reason=reason, providers=run.skipped))
            else:
                admitted.append(step.action)
                found.append(Begun(profile=profile.id, status="begun", run=run.id, provider=step.provider, providers=run.skipped))
        self._admit(admitted)
        return found

    def _admit(self, actions: Sequence[Action]) -> None:
        """Put the questions into the outbox in one commit; a key that exists is left as it is."""
        unit = Unit()
        unit.actions.extend(actions)
        for _ in range(_TRIES):
            if not actions or self._parts.loop.write(unit):
                return
        raise Unavailable("other processes wrote in between each time we tried.", hint="Try again.")

    def _busy(self, keys: Collection[int]) -> dict[int, int]:
        """Return which of these profiles have questions that are not settled, and when the next of them is due."""
        busy: dict[int, int] = {}
        if len(keys) > _FEW:
            found: Iterable[Action] = self.waiting()
        else:
            store = self._parts.store
            found = (a for key in keys for status in _OPEN for a in store.actions(status=status, profile=key, limit=1000))
        for action in found:
            if action.kind == ENRICH and action.profile in keys:
                busy[action.profile] = min(action.due, busy.get(action.profile, action.due))
        return busy

    def _count(self, text: str) -> int:
        condition = resolve(parse(text), self._parts.catalog.schema, expect=Type.BOOL)
        return self._parts.store.batch().count(condition, self._parts.now())
