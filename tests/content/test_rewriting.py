"""Translating and rewriting through a model: what must stay stays, or the model's text is not used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from connectors.model_server import ModelServer, Step, answering, failing
from tailorbird.connectors.llm import OpenAIModel, read_endpoint
from tailorbird.content.rewriting import rewrite, translate
from tailorbird.content.style import restyle
from tailorbird.errors import InvalidInput
from tailorbird.ports import NoAnswer

Start = Callable[..., tuple[OpenAIModel, ModelServer]]


@pytest.fixture
def start(httpserver: HTTPServer) -> Iterator[Start]:
    """Make a model over a server that answers with steps."""
    made: list[OpenAIModel] = []

    def begin(*steps: Step) -> tuple[OpenAIModel, ModelServer]:
        fake = ModelServer(httpserver, list(steps))
        made.append(OpenAIModel(read_endpoint(f"{fake.base}?retries=0", "k"), wait=lambda _: None))
        return made[-1], fake

    yield begin
    for model in made:
        model.close()


def saying(change: Callable[[str], str]) -> Callable[[Any], Response]:
    """A model that answers with what it got, changed."""
    return lambda request: answering({"text": change(json.loads(request.get_data())["messages"][1]["content"])})


TEXT = "Dear Ann, see https://shop.example/a?b=1 or {{ offer }}: 3 lamps for 1,200.50."


def test_a_translation_keeps_addresses_template_code_names_and_numbers(start: Start) -> None:
    model, fake = start(
        saying(lambda text: text.replace("Dear", "Chère").replace("see", "voyez").replace("lamps for", "lampes à"))
    )
    found = translate(model, TEXT, "fr_fr", source="en", names=["Ann"])
    assert found.text == "Chère Ann, voyez https://shop.example/a?b=1 or {{ offer }}: 3 lampes à 1,200.50."
    assert (found.language, found.author) == ("fr-FR", "model")
    sent = fake.requests[0].get_data(as_text=True)
    assert "shop.example" not in sent and "Ann" not in sent and "offer" not in sent


def test_markup_stays_in_its_order(start: Start) -> None:
    html = '<p title="Hello">Hello <b>you</b></p>'
    model, _ = start(saying(lambda text: text.replace("Hello", "Bonjour").replace("you", "vous")))
    assert translate(model, html, "fr", html=True).text == '<p title="Hello">Bonjour <b>vous</b></p>'


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("3", "4"),
        lambda text: text + " 99",
        lambda text: text.rsplit("[", 1)[0],
        lambda text: text + " [TEXT_1]",
        lambda text: text + " [TEXT_77]",
        lambda text: text + " blah" * 400,
    ],
)
def test_a_translation_that_changes_what_must_stay_is_refused(start: Start, change: Callable[[str], str]) -> None:
    model, _ = start(saying(change))
    with pytest.raises(NoAnswer) as caught:
        translate(model, TEXT, "fr", names=["Ann"])
    assert caught.value.why == "invalid"


@pytest.mark.parametrize(
    "change", [lambda t: t + "<script>x</script>", lambda t: t.replace("[TEXT_1]", "X").replace("[TEXT_2]", "[TEXT_1]")]
)
def test_markup_of_the_models_own_is_refused(start: Start, change: Callable[[str], str]) -> None:
    model, _ = start(saying(change))
    with pytest.raises(NoAnswer):
        translate(model, "<p>Hello <b>you</b></p>", "fr", html=True)


def test_what_is_no_language_is_refused_before_anything_is_asked(start: Start) -> None:
    model, fake = start(failing(500))
    with pytest.raises(InvalidInput):
        translate(model, "x", "french please")
    assert not fake.requests


def test_a_rewrite_comes_from_the_model_or_else_from_the_word_lists(start: Start) -> None:
    text = "Dear Ann, do not wait."
    model, _ = start(saying(lambda t: t.replace("do not wait", "no rush")), failing(500))
    assert rewrite(model, text, "casual", "en").text == "Dear Ann, no rush."
    found = rewrite(model, text, "casual", "en")
    assert (found.text, found.author) == (restyle(text, "casual", "en").text, "rules")
    assert found.note == "Restyled by word lists, because the language model answered 500."
    assert rewrite(None, text, "casual", "en").note == "Restyled by word lists, because no language model is set up."


def test_an_empty_text_is_not_sent(start: Start) -> None:
    model, fake = start(failing(500))
    assert translate(model, " \n", "fr").text == " \n" and not fake.requests
