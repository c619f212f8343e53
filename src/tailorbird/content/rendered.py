"""What a render answers with: the content, and where every value in it came from."""

from __future__ import annotations

import msgspec

from tailorbird.core.event import Json

__all__ = ["Rendered", "Used"]


class Used(msgspec.Struct, frozen=True, gc=False):
    """A variable that a template uses. ``source``: attribute, identifier, feature, offer, caller, default, clock or missing.

    ``detail`` says more: the attribute and who reported it, the kind of identifier, the feature's version.
    """

    name: str
    source: str
    detail: str = ""
    value: Json = None


class Rendered(msgspec.Struct, kw_only=True):
    """One message for one person. ``content`` holds its parts: subject, preheader, html, text, or body.

    ``missing`` names the variables whose place stayed empty. ``skipped`` says why nothing was rendered (None: it was).
    ``facts`` holds what a channel counts: an SMS's ``encoding``, ``length`` and ``segments``, a post's ``length`` and ``limit``.
    ``notes`` are remarks such as an address in a link that was taken out. ``personalized_at`` in ms since 1970.
    """

    template: str
    version: int
    type: str
    profile: str | None
    language: str | None
    language_reason: str
    style: str | None
    style_reason: str
    personalized_at: int
    content: dict[str, str] = {}
    variables: tuple[Used, ...] = ()
    missing: tuple[str, ...] = ()
    facts: dict[str, Json] = {}
    notes: tuple[str, ...] = ()
    skipped: str | None = None
