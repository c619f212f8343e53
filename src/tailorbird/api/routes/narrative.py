"""Narratives and tone: why a person is in their segments and what to say, and how a draft sounds beside their own replies."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import reply
from tailorbird.api.shapes import Body, answers
from tailorbird.content.language import Coverage, is_tag
from tailorbird.content.narrative import Narrative
from tailorbird.engine import Engine
from tailorbird.engine.narrating import ToneView
from tailorbird.errors import InvalidInput

__all__ = ["Draft", "router"]

_TAG = r"^[A-Za-z]{2,8}([_-][A-Za-z0-9]{1,8}){0,7}$"


class Draft(Body):
    """A text whose tone is asked; with a profile it is compared with that person's own replies."""

    text: Annotated[str, Field(min_length=1, max_length=100_000, examples=["Dear Ann, thank you for your order."])]
    language: Annotated[
        str | None, Field(pattern=_TAG, max_length=64, description="Left out: the person's preferred language, else en")
    ] = None
    html: Annotated[bool, Field(description="The text is markup; only its prose counts")] = False
    profile: Annotated[str | None, Field(min_length=1, max_length=300, examples=["ann"])] = None


def router(engine: Engine) -> APIRouter:
    """Return the routes about narratives and tone."""
    routes = APIRouter(prefix="/api/v1", tags=["content"])

    @routes.get("/profiles/{ref}/narrative", responses=answers(Narrative, text="The narrative"), operation_id="get_narrative")
    def get_narrative(
        ref: Annotated[str, Path(description="A public id, an external id, or `kind:value`", max_length=300)],
        author: Annotated[Literal["auto", "rules", "model"], Query(description="`auto`: the model where one is set up")] = "auto",
        language: Annotated[
            str, Query(description="A language tag; narratives are in English, and say so", max_length=64)
        ] = "en",
        interactions: Annotated[int, Query(ge=1, le=100, description="How many interactions are looked at")] = 20,
    ) -> Response:
        """Why the person is in these segments and what to say to them, in prose; `author` says who wrote it, `note` why."""
        if not is_tag(language.replace("_", "-")):
            raise InvalidInput(f"language {language!r:.40} is not a language tag.", hint="Write it as en, fr-CA or zh-Hant.")
        return reply(engine.narrating.narrative(ref, language=language, author=author, interactions=interactions))

    @routes.post("/tone", responses=answers(ToneView, text="The tone"), operation_id="measure_tone")
    def measure_tone(body: Draft) -> Response:
        """The tone of a draft, and how far it is from how a person writes themselves."""
        found = engine.narrating.tone(body.text, language=body.language, html=body.html, profile=body.profile)
        return reply(found)

    @routes.get("/languages", responses=answers(Coverage, text="Who gets which"), operation_id="preview_languages")
    def preview_languages(
        available: Annotated[str, Query(description="The languages that there are, with commas between", max_length=1000)],
        chain: Annotated[str, Query(description="What to fall back to, in order, with commas between", max_length=1000)] = "",
        segment: Annotated[str | None, Query(description="Only the members of this segment", max_length=200)] = None,
    ) -> Response:
        """Which of N people would get which language, and for which reasons."""
        return reply(engine.narrating.coverage(_tags(available, "available"), _tags(chain, "chain"), segment=segment))

    return routes


def _tags(text: str, name: str) -> list[str]:
    """Return language tags that stand between commas; raise ``InvalidInput`` for what is none."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [part for part in found if not is_tag(part.replace("_", "-"))]
    if wrong:
        raise InvalidInput(f"{name}: {wrong[0]!r:.40} is not a language tag.", hint="Write them as en,fr-CA,zh-Hant.")
    return found
