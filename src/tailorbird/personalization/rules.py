"""The rules of a personalization: which events are interactions, on which channel, which label, what to recommend, what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from re import Pattern, compile
from typing import Final, Self

import msgspec

from tailorbird.core.crm import CrmContext, Interaction
from tailorbird.core.event import Event, Json
from tailorbird.expr.check import Schema, resolve
from tailorbird.expr.explain import explain
from tailorbird.expr.incremental import Program
from tailorbird.expr.nodes import Node
from tailorbird.expr.parse import parse
from tailorbird.expr.types import Type
from tailorbird.personalization.facts import history_of, schema_with_facts

__all__ = ["Judgement", "Personalization", "Rule", "Rules", "Segmentation", "conditions"]

LATEST: Final = 20
"""Of how many of the latest interactions the preferred channel is the commonest, when the definition does not say."""


class Personalization(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak to the contact: the channel they use most (None: they used none), and what to recommend."""

    preferred_channel: str | None
    recommended_content: tuple[str, ...]


class Segmentation(msgspec.Struct, frozen=True, kw_only=True):
    """The label a contact got and what follows from it.

    ``interaction_count`` counts all interactions, however few of them the answer shows.
    """

    segment: str
    interaction_count: int
    personalization: Personalization
    tags: tuple[str, ...]
    account_tier: str | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of a contact: the segmentation, why in words, and what is missing."""

    segmentation: Segmentation
    because: str
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A label and when it is given; ``when`` None: always. For gaps the label is what is missing."""

    label: str
    when: Node | None
    content: tuple[str, ...] = ()
    words: str = "no other rule applies"


def conditions(spec: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield the conditions of a personalization: the field where each stands (``labels[0].when``), and its text."""
    for field in ("labels", "gaps"):
        for index, item in enumerate(spec.get(field) or ()):
            if isinstance(item, dict) and isinstance(item.get("when"), str):
                yield f"{field}[{index}].when", item["when"]


class Rules:
    """One personalization, ready to be asked. Pure: made from a definition's spec and what is live beside it."""

    def __init__(
        self, labels: tuple[Rule, ...], gaps: tuple[Rule, ...], wanted: Pattern[str], unwanted: Pattern[str],
        channels: tuple[tuple[Pattern[str], str], ...], latest: int, otherwise: str | None, adapters: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.labels, self.gap_rules, self.latest, self.otherwise, self.adapters = labels, gaps, latest, otherwise, adapters
        self._channels = channels
        named = {f"{place}": rule.when for place, rule in enumerate((*labels, *gaps)) if rule.when is not None}
        self._program, self._asked = Program({}, named), tuple(named)
        # Compiled here and now: afterwards several threads ask at once.
        state = self._program.start(
            0, [Event(id="", type=t, profile=0, at=0, received_at=0) for t in sorted(self._program.types)]
        )
        self._program.values(state, self._asked, 0)
        self._is_interaction = lru_cache(4096)(lambda type_: bool(wanted.match(type_)) and not unwanted.match(type_))
        self._channel_of_type = lru_cache(4096)(self._find_channel)

    @classmethod
    def read(cls, spec: Mapping[str, Json], schema: Schema) -> Self:
        """Return the rules that a checked definition states; raises ``InvalidExpression`` for one that was not checked."""
        known = schema_with_facts(schema)

        def rule(item: Mapping[str, Json], label: str) -> Rule:
            text = item.get("when")
            when = None if text is None else resolve(parse(text), known, expect=Type.BOOL, text=text)
            content = tuple(item.get("content") or ())
            return Rule(item[label], when, content, *(() if text is None else (explain(parse(text)),)))

        preferred = spec.get("preferred_channel") or {}
        given = sorted((spec.get("channels") or {}).items(), key=lambda item: (-len(item[0]), item[0]))
        channels = tuple((_pattern([glob]), channel) for glob, channel in given)
        return cls(
            tuple(rule(item, "label") for item in spec["labels"]), tuple(rule(item, "gap") for item in spec.get("gaps") or ()),
            _pattern(spec.get("interactions") or ["*"]), _pattern(spec.get("not_interactions") or []), channels,
            preferred.get("last", LATEST), preferred.get("otherwise"), tuple(spec.get("adapters") or ()),
        )  # fmt: skip

    def is_interaction(self, type_: str) -> bool:
        """Return whether events of this type are something a contact did, as the definition has it."""
        return self._is_interaction(type_)

    def channel(self, item: Interaction) -> str | None:
        """Return an interaction's channel: its own, else its data's, else that of its type."""
        if item.channel:
            return item.channel
        said = item.data.get("channel")
        return said if isinstance(said, str) and said else self._channel_of_type(item.type)

    def dressed(self, context: CrmContext) -> CrmContext:
        """Return the context with every interaction's channel filled in as far as it can be told."""
        items = tuple(
            Interaction(id=i.id, type=i.type, at=i.at, channel=self.channel(i), data=i.data) for i in context.interactions
        )
        total = len(items) if context.total is None else max(context.total, len(items))
        return CrmContext(
            contact=context.contact, account=context.account, interactions=items, total=total, history=context.history, seed=context.seed
        )  # fmt: skip

    def judge(self, context: CrmContext, instant: int) -> Judgement:
        """Return the segmentation of a dressed context as of an instant, why, and what is missing of the contact."""
        channel = self.preferred(context.interactions)
        facts = facts_of(context, channel)
        seed, events = history_of(context, facts, instant)
        state = self._program.start(seed, events)
        latest = max(instant, events[-2].at) if len(events) > 1 else instant
        values = dict(zip(self._asked, self._program.values(state, self._asked, latest), strict=True))
        true = [rule.when is None or values[str(place)] is True for place, rule in enumerate((*self.labels, *self.gap_rules))]
        found = self.labels[true.index(True)]  # the last label has no condition; the check of definitions sees to that
        segmentation = Segmentation(
            segment=found.label, interaction_count=context.total or 0,
            personalization=Personalization(preferred_channel=channel or self.otherwise, recommended_content=found.content),
            tags=context.contact.tags, account_tier=facts["account_tier"],
        )  # fmt: skip
        gaps = tuple(rule.label for rule, holds in zip(self.gap_rules, true[len(self.labels) :], strict=True) if holds)
        return Judgement(segmentation, found.words, gaps)

    def preferred(self, interactions: Iterable[Interaction]) -> str | None:
        """Return the commonest channel of the latest dressed interactions; of equally common ones that of the latest."""
        counts: Counter[str] = Counter()
        for index, item in enumerate(interactions):  # newest first, and a counter keeps what it met first in front
            if index >= self.latest:
                break
            if item.channel:
                counts[item.channel] += 1
        return counts.most_common(1)[0][0] if counts else None

    def _find_channel(self, type_: str) -> str | None:
        return next((channel for pattern, channel in self._channels if pattern.match(type_)), None)


def facts_of(context: CrmContext, channel: str | None) -> dict[str, Json]:
    """Return the facts that conditions may name; None: unknown."""
    contact, account = context.contact, context.account
    return {
        "interaction_count": context.total or 0, "preferred_channel": channel, "consent_known": bool(contact.consents),
        "account_tier": account.tier if account else None, "email": contact.email, "phone": contact.phone, "name": contact.name,
        "company": contact.company or (account.name if account else None), "title": contact.title,
    }  # fmt: skip


def _pattern(globs: Iterable[str]) -> Pattern[str]:
    """Return what matches any of these event types; ``*`` stands for anything, every other character for itself."""
    escaped = (translate(glob.replace("[", "[[]").replace("?", "[?]")) for glob in globs)
    return compile("|".join(escaped) or r"(?!)")
