"""Content: templates rendered for a person, previewed over a segment, compared, and texts checked."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import reply
from tailorbird.api.shapes import Body, answers, instant
from tailorbird.content.rendered import Rendered
from tailorbird.engine import Engine
from tailorbird.engine.content import TemplatePreview, VersionDiff
from tailorbird.errors import InvalidInput

__all__ = ["Checked", "Compare", "Render", "TextCheck", "Trial", "router"]

MAX_PREVIEW = 10_000
"""How many people one request may preview."""

Name = Annotated[str, Path(description="A template's name", max_length=200)]
Variables = Annotated[dict[str, Any], Field(description="What the caller gives, by name", examples=[{"discount": 10}])]
Language = Annotated[str | None, Field(max_length=40, description="Instead of the person's own; BCP 47", examples=["fr"])]
Style = Annotated[str | None, Field(pattern="^(formal|casual)$", description="Instead of what the person prefers")]
Person = Annotated[str, Field(min_length=1, max_length=300, examples=["ann"])]


class Render(Body):
    """What to render for whom: a template by name, or text given directly."""

    template: Annotated[str | None, Field(max_length=200, examples=["welcome"])] = None
    text: Annotated[str | None, Field(max_length=100_000, examples=["Hi {{ first_name }}"])] = None
    type: Annotated[str, Field(pattern="^(plain|html|sms|social)$", description="What `text` is")] = "plain"
    profile: Person | None = None
    variables: Variables = Field(default_factory=dict)
    offer: Annotated[dict[str, Any] | None, Field(description="The offer of a decision")] = None
    language: Language = None
    style: Style = None
    as_of: Annotated[int | str | None, Field(description="ms since 1970 or ISO 8601 text; left out: now")] = None


class Trial(Body):
    """Which people of a segment a template is previewed for."""

    segment: Annotated[str, Field(min_length=1, max_length=200, examples=["hot_lead"])]
    sample: Annotated[int, Field(ge=1, le=MAX_PREVIEW, description="How many people, spread over the segment")] = 100
    variables: Variables = Field(default_factory=dict)
    language: Language = None
    style: Style = None


class Compare(Body):
    """Which versions of a template are compared, and for whom."""

    version_a: Annotated[int, Field(ge=1, le=2**31)]
    version_b: Annotated[int, Field(ge=1, le=2**31)]
    profile: Person | None = None
    variables: Variables = Field(default_factory=dict)
    language: Language = None
    style: Style = None


class TextCheck(Body):
    """A text of a template to be checked. ``variables`` are the names the caller would give."""

    text: Annotated[str, Field(max_length=100_000)]
    part: Annotated[str, Field(pattern="^(subject|preheader|html|mjml|text|body)$")] = "body"
    variables: Annotated[list[str], Field(max_length=200)] = Field(default_factory=list)


class Checked(msgspec.Struct, frozen=True):
    """A text in which nothing is wrong."""

    ok: bool = True


def router(engine: Engine) -> APIRouter:
    """Return the routes about content."""
    routes = APIRouter(prefix="/api/v1", tags=["content"])

    @routes.post("/render", responses=answers(Rendered, text="The message"), operation_id="render")
    def render(body: Render) -> Response:
        """Render a template, or text that is checked first, for one person; the answer says where every value comes from."""
        if (body.template is None) == (body.text is None):
            raise InvalidInput("`template` and `text` are both there, or neither is.", hint="Send one of them.")
        given: dict[str, Any] = {
            "variables": body.variables, "offer": body.offer, "language": body.language, "style": body.style,
            "as_of": instant(body.as_of, "as_of"),
        }  # fmt: skip
        if body.text is not None:
            return reply(engine.content.render_text(body.text, body.profile, type=body.type, **given))
        return reply(engine.content.render(body.template or "", body.profile, **given))

    @routes.post("/templates/check", responses=answers(Checked, text="Nothing is wrong"), operation_id="check_template")
    def check(body: TextCheck) -> Response:
        """Check a text of a template; what is wrong is told in `mistakes`, all at once."""
        engine.content.check(body.text, part=body.part, variables=body.variables)
        return reply(Checked())

    @routes.post(
        "/templates/{name}/preview", responses=answers(TemplatePreview, text="What comes of it"), operation_id="preview_template"
    )
    def preview(name: Name, body: Trial) -> Response:
        """Render a template for a sample of a segment, and count languages, styles and what is missing."""
        return reply(
            engine.content.preview(
                name, body.segment, sample=body.sample, variables=body.variables, language=body.language, style=body.style
            )
        )

    @routes.post("/templates/{name}/diff", responses=answers(VersionDiff, text="How they differ"), operation_id="diff_template")
    def diff(name: Name, body: Compare) -> Response:
        """Compare two versions of a template, in their texts and (with a profile) in what that person gets."""
        return reply(
            engine.content.diff(
                name,
                body.version_a,
                body.version_b,
                body.profile,
                variables=body.variables,
                language=body.language,
                style=body.style,
            )
        )

    return routes
