"""Who visits the demonstration shop: personas, and what each person is called, where they live and how they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tailorbird.core.event import Json
from tailorbird.demo.chance import Chance, Weighted

__all__ = ["PERSONAS", "Persona", "attributes_of", "email_of", "phone_of"]


@dataclass(frozen=True, slots=True)
class Persona:
    """How a kind of visitor behaves. Rates are per week, shares are probabilities."""

    name: str
    share: float
    visits: float
    pages: float
    pricing: float  # share of visits that look at the pricing page
    product: float  # product views per visit
    cart: float  # share of visits that fill a cart
    order: float  # share of filled carts that are paid
    items: float
    coupon: float
    opens: float  # share of mails that are opened
    consent: float
    identifies: float
    joined: tuple[int, int]  # days before the end at which they first came
    stays: tuple[int, int]  # days after which they fall silent
    trial: float = 0.0
    ticket: float = 0.0  # support tickets per month


PERSONAS: Final = (
    Persona("passer_by", 0.28, 0.5, 2.0, 0.06, 0.8, 0.05, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, (1, 119), (1, 25)),
    Persona("casual", 0.19, 0.42, 2.4, 0.05, 1.3, 0.35, 0.45, 1.4, 0.15, 0.25, 0.65, 0.9, (20, 119), (60, 400), 0.0, 0.02),
    Persona("bargain_hunter", 0.12, 0.7, 3.0, 0.04, 1.8, 0.45, 0.40, 1.6, 0.85, 0.55, 0.85, 0.95, (30, 119), (60, 400)),
    Persona("loyal", 0.10, 0.85, 2.6, 0.03, 1.6, 0.50, 0.70, 2.1, 0.20, 0.60, 0.90, 1.0, (60, 119), (400, 500), 0.0, 0.05),
    Persona("churner", 0.10, 1.0, 2.4, 0.08, 1.2, 0.30, 0.50, 1.5, 0.25, 0.30, 0.70, 1.0, (80, 119), (20, 60), 0.0, 0.6),
    Persona("hot_lead", 0.11, 3.2, 3.0, 0.75, 0.6, 0.10, 0.20, 1.0, 0.10, 0.55, 0.80, 0.85, (3, 119), (12, 45), 0.35),
    Persona("newcomer", 0.06, 2.0, 2.8, 0.12, 1.6, 0.35, 0.45, 1.3, 0.50, 0.50, 0.75, 0.9, (1, 14), (60, 90), 0.05),
    Persona("subscriber", 0.03, 1.0, 2.6, 0.25, 0.5, 0.10, 0.40, 1.2, 0.10, 0.50, 0.80, 1.0, (25, 119), (300, 400), 0.95, 0.2),
    Persona("vip", 0.01, 2.0, 3.0, 0.03, 2.4, 0.55, 0.85, 3.6, 0.10, 0.70, 0.95, 1.0, (90, 119), (400, 500), 0.0, 0.05),
)  # fmt: skip
"""The kinds of visitor; shares add up to 1."""

_FIRST = (
    "Ada", "Ben", "Chloé", "Dilan", "Emma", "Farid", "Greta", "Hugo", "Inès", "Jonas", "Klara", "Léo", "Mina", "Noah",
    "Olga", "Pablo", "Quentin", "Rosa", "Sami", "Tessa", "Umar", "Vera", "Willem", "Xenia", "Yann", "Zoé", "Ana", "Bruno",
    "Carmen", "Diego", "Elin", "Freya", "Giulia", "Henrik", "Iris", "Jan", "Kenji", "Lucía", "Marta", "Nils",
)  # fmt: skip
_LAST = (
    "Martin", "Bernard", "Dubois", "Moreau", "Laurent", "Müller", "Schmidt", "Fischer", "Weber", "Wagner", "García",
    "Fernández", "López", "Rossi", "Bianchi", "Ferrari", "Smith", "Jones", "Taylor", "Brown", "Wilson", "Jansen", "de Vries",
    "Bakker", "Nowak", "Kowalska", "Silva", "Santos", "Johansson", "Lindberg", "Nielsen", "Virtanen", "O'Brien", "Murphy",
)  # fmt: skip
_COUNTRIES = Weighted(("FR", 30), ("DE", 22), ("US", 14), ("GB", 12), ("ES", 9), ("IT", 7), ("NL", 4), ("SE", 2))
_LANGUAGES = {"FR": "fr", "DE": "de", "US": "en", "GB": "en", "ES": "es", "IT": "it", "NL": "nl", "SE": "sv"}
_DIALS = {
    "FR": "+336", "DE": "+4915", "US": "+1415", "GB": "+447", "ES": "+346", "IT": "+3932", "NL": "+316", "SE": "+467",
}  # fmt: skip
_DIGITS = {"FR": 8, "DE": 9, "US": 7, "GB": 9, "ES": 8, "IT": 8, "NL": 8, "SE": 8}
_SOURCES = Weighted(
    ("organic", 34), ("search_ads", 20), ("social", 16), ("referral", 12), ("newsletter", 8), ("partner", 6), ("event", 4)
)
_TIERS = Weighted(("starter", 60), ("growth", 30), ("scale", 10))
_PLAIN = str.maketrans("éèüíáóöäñ'", "eeuiaooan-")


def attributes_of(chance: Chance, persona: Persona) -> dict[str, Json]:
    """Return the attributes a person gives when they first say who they are."""
    country = chance.draw(_COUNTRIES)
    language = _LANGUAGES[country] if chance.happens(0.9) else "en"
    found: dict[str, Json] = {
        "first_name": chance.pick(_FIRST),
        "last_name": chance.pick(_LAST),
        "country": country,
        "language": language,
        "signup_source": chance.draw(_SOURCES),
        "plan": "free",
    }
    if chance.happens(0.6):
        found["birthday"] = f"{chance.integer(1950, 2006)}-{chance.integer(1, 12):02d}-{chance.integer(1, 28):02d}"
    if persona.name in ("vip", "loyal", "subscriber") and chance.happens(0.5):
        found["account"] = {"tier": chance.draw(_TIERS), "seats": chance.integer(1, 40)}
    return found


def email_of(attributes: dict[str, Json], number: int) -> str:
    """Return an address in the domain that is reserved for examples."""
    first, last = (str(attributes[key]).lower().translate(_PLAIN).replace(" ", "") for key in ("first_name", "last_name"))
    return f"{first}.{last}.{number}@example.com"


def phone_of(chance: Chance, country: str) -> str:
    """Return a phone number in the form of its country."""
    digits = "".join(str(chance.integer(2, 8)) for _ in range(_DIGITS[country]))
    return _DIALS[country] + digits
