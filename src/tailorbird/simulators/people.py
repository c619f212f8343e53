"""People who do not exist, for the simulators of CRMs: person n is the same for the same seed, and made when they are asked for."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

__all__ = ["NEWEST", "Person", "person"]

NEWEST: Final = 1_795_000_000_000
"""When the last of the people changed (ms since 1970): before anything that a test or a demo does."""

_FIRST: Final = (
    "Ada", "Ben", "Carla", "Dmitri", "Eva", "Femi", "Grace", "Hugo", "Iris", "Jun", "Kofi", "Lea", "Mara", "Nils", "Omar", "Petra",
    "Quinn", "Rosa", "Sven", "Tara", "Uma", "Viktor", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
_LAST: Final = (
    "Abend", "Bauer", "Costa", "Dahl", "Evans", "Fischer", "Garnier", "Horvath", "Ivanova", "Jensen", "Kato", "Lund", "Moreau",
    "Novak", "Okafor", "Pereira", "Quist", "Rossi", "Silva", "Tanaka", "Urban", "Vogel", "Weber", "Young", "Zhang",
)  # fmt: skip
_TITLES: Final = ("Owner", "Head of Marketing", "Sales Director", "Product Manager", "CTO", "Office Manager", "Data Engineer")
_COMPANIES: Final = ("Acorn", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Gorse", "Hazel", "Ivy", "Juniper")
_PLACES: Final = (
    ("Springfield", "IL", "United States", "62701"), ("Portland", "OR", "United States", "97201"),
    ("Austin", "TX", "United States", "73301"), ("Boston", "MA", "United States", "02108"),
    ("Denver", "CO", "United States", "80014"), ("Toronto", "ON", "Canada", "M4B 1B3"),
)  # fmt: skip
_TAGS: Final = ("vip", "lawn", "snow", "newsletter", "referral", "winback")


class Person(NamedTuple):
    """Somebody who does not exist; ``status`` is one of ``new open customer lost``, times in ms since 1970."""

    number: int
    first_name: str
    last_name: str
    email: str
    phone: str
    company: str
    title: str
    city: str
    state: str
    country: str
    postal_code: str
    status: str
    tags: tuple[str, ...]
    opted_out: bool
    created_at: int
    updated_at: int


def person(number: int, *, seed: int = 0, people: int = 100_000) -> Person:
    """Return person ``number`` of so many; the later they stand, the later they changed, a second apart.

    >>> person(7) == person(7), person(7).email != person(8).email, person(7, seed=1).email == person(7).email
    (True, True, False)
    """
    chance = random.Random(f"{seed} person {number}")
    first, last, company = chance.choice(_FIRST), chance.choice(_LAST), chance.choice(_COMPANIES)
    city, state, country, postal_code = chance.choice(_PLACES)
    updated = NEWEST - (people - number) * 1_000
    return Person(
        number, first, last, f"{first}.{last}.{seed}.{number}@{company}.example".lower(),
        f"+1415{2_000_000 + (number + 7_919 * seed) % 7_000_000:07d}", f"{company} & Co", chance.choice(_TITLES), city, state, country,
        postal_code, chance.choice(("new", "open", "customer", "customer", "lost")),
        tuple(sorted(chance.sample(_TAGS, chance.randrange(3)))), chance.random() < 0.05,
        updated - chance.randrange(1, 400 * 86_400) * 1_000, updated,
    )  # fmt: skip
