"""Choosing a language: a person's preferences against what there is, with an explicit fallback chain."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

__all__ = ["Choice", "choose"]


class Choice(msgspec.Struct, frozen=True):
    """The language that was chosen (None: nothing fits), and the reason in a clause."""

    language: str | None
    reason: str


def choose(preferred: Sequence[str], available: Collection[str], chain: Sequence[str] = ()) -> Choice:
    """Return which of the available languages a person gets.

    >>> choose(["fr-CA"], ["en", "fr"], ["en"]).language, choose(["pl"], ["en", "fr"], ["en"]).language
    ('fr', 'en')
    """
    there = {tag.lower(): tag for tag in available}
    for want in preferred:
        for tag in (want.lower(), want.lower().partition("-")[0]):
            if tag in there:
                return Choice(there[tag], f"prefers {want}")
    for want in chain:
        if want.lower() in there:
            return Choice(there[want.lower()], f"{want} is the fallback")
    return Choice(None, "no fallback fits")
