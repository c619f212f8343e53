"""The provider chain: what an ``enrichment`` definition says, read into values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tailorbird.core.context import DAY
from tailorbird.core.event import Json
from tailorbird.expr.types import Type
from tailorbird.expr.units import duration_of

__all__ = ["COSTS", "DEFAULT", "FIELDS_OF", "KNOWN_TYPES", "MOBILE", "PROVIDERS", "Chain", "Link", "parse_chain"]

PROVIDERS: Final = ("apollo", "dropcontact")
"""Whom a chain may ask."""

FIELDS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "apollo": (
        "first_name", "last_name", "name", "email", "company", "domain", "title", "linkedin_url", "phone", "industry",
        "seniority_level", "company_size", "city", "country",
    ),
    "dropcontact": (
        "first_name", "last_name", "name", "email", "company", "domain", "title", "linkedin_url", "phone", "industry",
        "seniority_level", "company_size", "city", "country",
    ),
}  # fmt: skip
"""Which attributes each provider can fill."""

KNOWN_TYPES: Final[Mapping[str, Type]] = {
    **dict.fromkeys(
        ("first_name", "last_name", "name", "email", "company", "title", "domain", "phone", "linkedin_url", "industry",
         "seniority_level", "city", "country", "language", "style", "status", "campaign", "email_verification",
         "enrichment_source"), Type.TEXT,
    ),
    "email_verified": Type.BOOL,
    "enriched_at": Type.TIME,
}  # fmt: skip
"""What the well-known attributes are read as in a provider's condition, where no definition says otherwise."""

COSTS: Final[Mapping[str, int]] = {"apollo": 1, "dropcontact": 1}
"""Credits that asking about one person costs at most; nothing found costs none (see the providers' price pages)."""

MOBILE: Final = 8
"""Credits that a mobile number costs at Apollo besides."""

AGAIN_AFTER: Final = 90 * DAY


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One provider of a chain.

    ``when`` is a condition over what is known of the person (None: always), ``take`` the attributes that are taken over,
    ``verifies`` whether its word on the e-mail address counts. ``budget`` in credits a day (None: no limit), ``limits`` in
    requests per window, ``concurrency`` in calls at once; None leaves them to the connector.
    """

    provider: str
    when: str | None = None
    take: tuple[str, ...] = ()
    verifies: bool = False
    reveal_phone: bool = False
    reveal_personal_emails: bool = False
    budget: int | None = None
    limits: dict[str, int] = {}
    concurrency: int | None = None

    @property
    def cost(self) -> int:
        """Credits that asking about one person may cost."""
        return COSTS[self.provider] + (MOBILE if self.reveal_phone and self.provider == "apollo" else 0)


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """Providers in the order in which they are asked.

    ``assume_valid``: an address that no verifier could judge is taken to be good, and recorded as assumed. ``again_after``
    in ms: nobody is asked again about the same person before. ``prefer`` maps an attribute to providers, best first, where
    that differs from the order of asking.
    """

    name: str
    links: tuple[Link, ...]
    assume_valid: bool = True
    again_after: int = AGAIN_AFTER
    prefer: dict[str, tuple[str, ...]] = {}

    def link(self, provider: str) -> Link | None:
        """Return the link of a provider, None where the chain has none."""
        return next((link for link in self.links if link.provider == provider), None)

    @property
    def verifies(self) -> bool:
        """Whether any of the providers may judge the address."""
        return any(link.verifies for link in self.links)

    def may_replace(self, provider: str, attribute: str) -> tuple[str, ...]:
        """Return whose values of an attribute the provider may replace: its own, and those of providers that come after it.

        What a person, a form or a CRM has said is nobody's to replace.
        """
        order = [*self.prefer.get(attribute, ())]
        order += [link.provider for link in self.links if link.provider not in order]
        return tuple(order[order.index(provider) :]) if provider in order else (provider,)


def parse_chain(name: str, spec: Mapping[str, Json]) -> Chain:
    """Return the chain of a checked ``enrichment`` spec.

    >>> chain = parse_chain("basic", {"providers": [{"provider": "apollo", "when": "title is unknown"}]})
    >>> chain.links[0].when, chain.assume_valid, chain.again_after == 90 * DAY
    ('title is unknown', True, True)
    """
    links = tuple(
        Link(
            provider=item["provider"],
            when=item.get("when"),
            take=tuple(item.get("take") or FIELDS_OF[item["provider"]]),
            verifies=item.get("verifies", item["provider"] == "dropcontact"),
            reveal_phone=item.get("reveal_phone", False),
            reveal_personal_emails=item.get("reveal_personal_emails", False),
            budget=item.get("budget"),
            limits=dict(item.get("limits") or {}),
            concurrency=item.get("concurrency"),
        )
        for item in spec["providers"]
    )
    return Chain(
        name=name,
        links=links,
        assume_valid=spec.get("if_unverified", "assume_valid") == "assume_valid",
        again_after=duration_of(spec.get("again_after") or "90d") or AGAIN_AFTER,
        prefer={attribute: tuple(names) for attribute, names in (spec.get("prefer") or {}).items()},
    )


DEFAULT: Final = parse_chain("default", {"providers": [{"provider": "apollo"}, {"provider": "dropcontact"}]})
"""The chain in force where none is defined: Apollo, then Dropcontact, which also judges the address."""
