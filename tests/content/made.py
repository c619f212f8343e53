"""What the tests of templates share: a person, and a template compiled and rendered in one call."""

from __future__ import annotations

from typing import Any

from tailorbird.content.compiled import Compiled, compile_template
from tailorbird.content.limits import DEFAULT, Limits
from tailorbird.content.rendered import Rendered
from tailorbird.content.spec import Template
from tailorbird.content.values import Facts
from tailorbird.core.profile import Profile, Provenance

NOW = 1_700_000_000_000


def person(**attributes: Any) -> Profile:
    """A profile with these attributes, all reported by the CRM."""
    origin = Provenance("text", "crm", NOW, 1)
    return Profile(key=1, id="p_aaaaaaaaaaaaaaaa", bucket=0, attributes=attributes, provenance=dict.fromkeys(attributes, origin))


def compiled(
    spec: dict[str, Any], *, language: str = "en", style: str | None = None, limits: Limits = DEFAULT, **pieces: Any
) -> Compiled:
    """A template of this spec, with other templates by name."""
    others = {name: Template.read(name, 1, piece) for name, piece in pieces.items()}
    return compile_template(Template.read("made", 1, spec), language, style, pieces=others, versions={"orders": 3}, limits=limits)


def rendered(
    spec: dict[str, Any], who: Profile | None = None, *, limits: Limits = DEFAULT, pieces: Any = None, **facts: Any
) -> Rendered:
    """The message of a spec for a person."""
    return compiled(spec, limits=limits, **(pieces or {})).render(Facts(who, now=NOW, **facts))


def text(source: str, who: Profile | None = None, *, limits: Limits = DEFAULT, **variables: Any) -> str:
    """A plain text rendered."""
    return rendered({"type": "plain", "body": source}, who, limits=limits, caller=variables).content["body"]


def html(source: str, who: Profile | None = None, *, limits: Limits = DEFAULT, **variables: Any) -> str:
    """HTML rendered."""
    return rendered({"type": "plain", "html": source}, who, limits=limits, caller=variables).content["html"]
