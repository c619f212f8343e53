"""The names that a template may use, and what each of them stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple

__all__ = ["PERSON", "RESERVED", "WELL_KNOWN", "Known", "Name", "canonical", "read", "unknown"]

Source = Literal["person", "attribute", "feature", "offer", "clock", "caller"]

PERSON: Final[Mapping[str, str]] = {
    "first_name": "first_name", "last_name": "last_name", "full_name": "full_name", "email": "email", "phone": "phone",
    "firstName": "first_name", "lastName": "last_name", "fullName": "full_name",
}  # fmt: skip
"""Names of a person that need no prefix, by how they may be spelled."""

WELL_KNOWN: Final = frozenset(
    [
        "first_name",
        "last_name",
        "name",
        "email",
        "phone",
        "company",
        "title",
        "domain",
        "linkedin_url",
        "industry",
        "seniority_level",
        "company_size",
        "city",
        "country",
        "language",
        "style",
        "status",
        "email_verified",
        "email_verification",
        "enriched_at",
        "enrichment_source",
        "account.tier",
        "campaign",
    ]
)
"""Attributes that need no definition."""

ATTRIBUTES: Final = frozenset({"attributes", "custom", "customer"})
_CLOCK: Final = frozenset({"now", "today"})
RESERVED: Final = ATTRIBUTES | {"features", "forloop", "now", "today"}
"""Roots that a caller's variables cannot take."""


class Name(NamedTuple):
    """A path read: what it stands for, under which canonical name, and its parts below the root."""

    source: Source
    name: str
    parts: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to be named: declared attributes, features, the template's own variables, and other templates.

    With ``anything`` a name that is none of them is taken to be the caller's.
    """

    attributes: Collection[str] = ()
    features: Collection[str] = ()
    variables: Collection[str] = ()
    pieces: Collection[str] = ()
    anything: bool = field(default=False)


def canonical(name: str) -> str:
    """Return a variable's name in its one spelling.

    >>> canonical("firstName"), canonical("custom.plan"), canonical("offer.title")
    ('first_name', 'attributes.plan', 'offer.title')
    """
    root, dot, rest = name.partition(".")
    if root in ATTRIBUTES and dot:
        return f"attributes.{rest}"
    return PERSON.get(name, name)


def read(path: Sequence[Any]) -> Name | None:
    """Return what a path stands for; None when one of its parts is computed where it must be written out."""
    root, *rest = path
    if not isinstance(root, str):
        return None
    literal = all(isinstance(part, str | int) for part in rest)
    parts = tuple(part if isinstance(part, str | int) else "" for part in rest)
    if root in ATTRIBUTES or root == "features":
        if not literal:
            return None
        name = ".".join(str(part) for part in parts)
        return Name(
            "attribute" if root in ATTRIBUTES else "feature", f"{'attributes' if root in ATTRIBUTES else root}.{name}", parts
        )
    if root in PERSON:
        return Name("person", PERSON[root], parts)
    if root in _CLOCK:
        return Name("clock", root, parts)
    if not literal:
        parts = ()
    name = ".".join(str(part) for part in (root, *parts))
    return Name("offer" if root == "offer" else "caller", name, (root, *parts))


def unknown(name: Name | None, shown: str, known: Known) -> tuple[str, str] | None:
    """Return what is wrong with a name and how to mend it; None when it is known."""
    if name is None:
        return f"{shown}: attributes and features are named, not computed", "Write attributes.plan, or features.orders."
    match name.source:
        case "person":
            return (f"{shown}: {name.name} is text and has no parts", f"Write {name.name}.") if name.parts else None
        case "offer" | "clock":
            return None
        case "feature":
            if not name.parts:
                return "features stands for no value by itself", "Write features.name."
            if name.parts[0] in known.features:
                return None
            return f"there is no feature called {name.parts[0]}", _near(str(name.parts[0]), known.features, "features.")
        case "attribute":
            return _attribute(name, known)
    root = str(name.parts[0])
    if root in known.variables or known.anything:
        return None
    if root in known.attributes or root in WELL_KNOWN:
        return f"there is no variable called {root}", f"Attributes are written attributes.{root}."
    if root in known.features:
        return f"there is no variable called {root}", f"Features are written features.{root}."
    near = get_close_matches(root, [*PERSON, *known.variables, "attributes", "features", "offer"], n=1)
    return f"there is no variable called {root}", (
        f"Did you mean {near[0]}?" if near else f"Declare what the caller gives: variables: {{{root}: {{}}}}"
    )


def _attribute(name: Name, known: Known) -> tuple[str, str] | None:
    if not name.parts:
        return "attributes stands for no value by itself", "Write attributes.name."
    parts = [str(part) for part in name.parts]
    there = {*known.attributes, *WELL_KNOWN}
    prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    shown = ".".join(parts)
    if prefixes & there or any(other.startswith(f"{shown}.") for other in there):
        return None
    return f"there is no attribute called {shown}", _near(shown, there, "attributes.", declare=parts[0])


def _near(word: str, there: Collection[str], prefix: str, *, declare: str = "") -> str:
    near = get_close_matches(word, list(there), n=1)
    if near:
        return f"Did you mean {prefix}{near[0]}?"
    return (
        f"Declare it: kind: attribute, name: {declare}, type: text" if declare else "List what there is with: tailorbird features"
    )
