"""The merge rule: what a team decides about when two profiles are one person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec

from tailorbird.core.event import Json
from tailorbird.errors import Mistake

__all__ = ["DEFAULT_RULE", "Limits", "MergeRule", "check_merge_rule", "parse_merge_rule"]

When = Literal["compatible", "same_name", "always", "never"]
Winning = Literal["newest", "winner"]
Shared = Literal["forward", "keep"]
Anonymous = Literal["join", "never"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one profile may gather before something is taken to be wrong with an identifier."""

    identifiers: int = 500
    merges: int = 500


class MergeRule(msgspec.Struct, frozen=True, kw_only=True):
    """When profiles are joined, and what the joined one looks like.

    ``on``: the kinds of identifier that, shared, join two identified profiles. ``when``: ``compatible`` — unless they have
    different external ids or different ids in one CRM; ``same_name`` — also then, if the names are equal; ``always``;
    ``never``. ``anonymous``: whether anonymous activity joins the person who identifies. ``shared_device``: whose a second
    person's device is from then on, ``forward`` theirs or ``keep`` the first one's. ``attributes``: which value stands
    where both have one, the ``newest`` or the ``winner``'s. ``ignore``: values that identify nobody (``info@shop.com``).
    """

    name: str = "default"
    on: tuple[str, ...] = ("email", "phone")
    when: When = "compatible"
    anonymous: Anonymous = "join"
    shared_device: Shared = "forward"
    attributes: Winning = "newest"
    limits: Limits = Limits()
    ignore: frozenset[str] = frozenset()


DEFAULT_RULE: Final = MergeRule()
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "when": get_args(When),
    "anonymous": get_args(Anonymous),
    "shared_device": get_args(Shared),
    "attributes": get_args(Winning),
}
_JOINING: Final = ("email", "phone")


def check_merge_rule(spec: Mapping[str, Json]) -> list[Mistake]:
    """Return everything that is wrong with the spec of a ``merge_rule`` definition.

    >>> [m.message for m in check_merge_rule({"when": "often", "on": ["email"]})]
    ["'often' is not one of compatible, same_name, always, never"]
    """
    known = {"description", "on", "limits", "ignore", *_CHOICES}
    hint = f"known: {', '.join(sorted(known))}"
    mistakes = [
        Mistake("unknown_field", f"{name!r} is not a field of a merge rule", hint, where=name)
        for name in spec
        if name not in known
    ]
    for name, choices in _CHOICES.items():
        if name in spec and spec[name] not in choices:
            mistakes.append(Mistake("invalid_value", f"{spec[name]!r} is not one of {', '.join(choices)}", where=name))
    mistakes += _check_texts(spec, "on", _JOINING) + _check_texts(spec, "ignore", None)
    limits = spec.get("limits", {})
    if not isinstance(limits, dict):
        mistakes.append(Mistake("invalid_value", "must be a mapping", "such as {identifiers: 500, merges: 500}", where="limits"))
        return mistakes
    for name, value in limits.items():
        if name not in Limits.__struct_fields__:
            mistakes.append(
                Mistake("unknown_field", f"{name!r} is not a limit", "known: identifiers, merges", where=f"limits.{name}")
            )
        elif type(value) is not int or not 1 <= value <= 100_000:
            mistakes.append(Mistake("invalid_value", "must be a whole number from 1 to 100000", where=f"limits.{name}"))
    return mistakes


def _check_texts(spec: Mapping[str, Json], name: str, choices: tuple[str, ...] | None) -> list[Mistake]:
    value = spec.get(name, [])
    if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
        return [Mistake("invalid_value", "must be a list of text", where=name)]
    wrong = [member for member in value if choices is not None and member not in choices]
    return [Mistake("invalid_value", f"{member!r} is not one of {', '.join(choices or ())}", where=name) for member in wrong]


def parse_merge_rule(name: str, spec: Mapping[str, Json]) -> MergeRule:
    """Return the rule of a spec that ``check_merge_rule`` found nothing wrong with."""
    values: dict[str, Any] = {key: spec[key] for key in _CHOICES if key in spec}
    if "on" in spec:
        values["on"] = tuple(spec["on"])
    if "limits" in spec:
        values["limits"] = Limits(**spec["limits"])
    ignored = frozenset(str(value).strip().lower() for value in spec.get("ignore", []))
    return MergeRule(name=name, ignore=ignored, **values)
