"""What a text of a template says, and everything that is wrong with it at once, each with its place and a caret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, NamedTuple

from liquid.ast import Node
from liquid.builtin.expressions import StringLiteral
from liquid.builtin.tags.include_tag import IncludeNode
from liquid.builtin.tags.render_tag import RenderNode
from liquid.exceptions import LiquidError
from liquid.static_analysis import analyze
from liquid.template import BoundTemplate

from tailorbird.content.limits import MAX_SOURCE
from tailorbird.content.names import Known, read, unknown
from tailorbird.content.places import place_values
from tailorbird.content.prose import PreparedHtml, from_mjml
from tailorbird.content.spec import texts_of
from tailorbird.content.syntax import TAGS, Dialect, key_of
from tailorbird.errors import Mistake, Span

__all__ = ["Outline", "check_spec", "check_text", "mistake_of", "outline"]

_MOST: Final = 50


class Outline(NamedTuple):
    """What a text uses: paths (a computed part is None), other templates with the names they are given, and what is wrong
    whatever names there are."""

    paths: tuple[tuple[tuple[Any, ...], Span], ...] = ()
    pieces: tuple[tuple[str, Span, frozenset[str]], ...] = ()
    mistakes: tuple[Mistake, ...] = ()


def check_spec(name: str, spec: Mapping[str, Any], known: Known) -> Iterator[tuple[str, str, tuple[Mistake, ...]]]:
    """Yield (field, text, mistakes) for every text of a template in which something is wrong."""
    declared = Known(known.attributes, known.features, [*(spec.get("variables") or {})], [n for n in known.pieces if n != name])
    for field, part, source in texts_of(spec):
        found = check_text(source, declared, part)
        if found:
            yield field, source, found


def check_text(text: str, known: Known, part: str = "body") -> tuple[Mistake, ...]:
    """Return everything that is wrong with one text of a template; mistakes carry spans into it."""
    if len(text) > MAX_SOURCE:
        return (Mistake("too_large", f"the text has {len(text)} characters; the limit is {MAX_SOURCE}", span=Span(0, 1)),)
    found = outline(text, part)
    mistakes = list(found.mistakes)
    for path, span in found.paths:
        shown = key_of(["…" if item is None else item for item in path])
        wrong = unknown(read(path), shown, known)
        if wrong is not None:
            mistakes.append(Mistake("unknown_variable", wrong[0], wrong[1], span))
    for piece, span, _ in found.pieces:
        if piece not in known.pieces:
            mistakes.append(Mistake("unknown_template", f"there is no other template called {piece}", span=span))
    mistakes.sort(key=lambda item: item.span.start if item.span else 0)
    return tuple(mistakes[:_MOST])


@lru_cache(maxsize=512)
def outline(text: str, part: str) -> Outline:
    """Return what a text uses, and its mistakes of syntax, filters, tags and places."""
    html = part in ("html", "mjml")
    errors: list[LiquidError] = []
    dialect = Dialect(html=html, mistakes=errors)
    try:
        parsed = dialect.from_string(text)
        used = analyze(parsed, include_partials=False)
    except LiquidError as error:
        return Outline(mistakes=_told([*errors, error], text))
    except Exception as error:  # whatever the parser stumbles over is a mistake in the text
        return Outline(
            mistakes=(*_told(errors, text), Mistake("syntax", f"this cannot be read: {type(error).__name__}", span=Span(0, 1)))
        )
    mistakes = list(_told(errors, text))
    for name, spans in used.filters.items():
        if name not in dialect.filters:
            hint = _similar(name, dialect)
            places = [Span(span.index, span.index + len(name)) for span in spans]
            mistakes += [Mistake("unknown_filter", f"there is no filter called {name}", hint, place) for place in places]
    paths = tuple(
        (tuple(None if isinstance(part, list) else part for part in item.segments), _span(text, item))
        for items in used.globals.values() for item in items
    )  # fmt: skip
    pieces, computed = _pieces(parsed)
    mistakes += computed
    if not mistakes and part == "html":
        mistakes += place_values(parsed.nodes)
    elif not mistakes and part == "mjml":
        mistakes += _check_mjml(text)
    return Outline(paths, pieces, tuple(mistakes))


def _check_mjml(text: str) -> Iterator[Mistake]:
    made = from_mjml(text)
    if not isinstance(made, PreparedHtml):
        yield made
        return
    for item in place_values(Dialect(html=True).from_string(made.source).nodes):
        piece = made.source[item.span.start : item.span.end] if item.span else ""
        yield Mistake(item.code, item.message, item.hint, Span(max(0, text.find(piece)), max(0, text.find(piece)) + len(piece)))


def _pieces(parsed: BoundTemplate) -> tuple[tuple[tuple[str, Span, frozenset[str]], ...], list[Mistake]]:
    found: list[tuple[str, Span, frozenset[str]]] = []
    mistakes: list[Mistake] = []
    waiting: list[Node] = list(parsed.nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, IncludeNode | RenderNode):
            start = max(0, node.token.start_index)
            span = Span(start, start + len(node.token.value))
            if isinstance(node.name, StringLiteral):
                given = {str(arg.name) for arg in node.args} | (
                    {str(node.alias or node.name.value), "forloop"} if node.var else set()
                )
                found.append((node.name.value, span, frozenset(given)))
            else:
                hint = 'Write it in quotes: {% render "footer" %}.'
                mistakes.append(Mistake("computed_name", "which template is rendered must be written out", hint, span))
            continue
        waiting += node.children(None, include_partials=False)  # type: ignore[arg-type]
    return tuple(sorted(found, key=lambda item: item[1].start)), mistakes


def _told(errors: list[LiquidError], text: str) -> tuple[Mistake, ...]:
    found: dict[tuple[int, str], Mistake] = {}
    for error in errors:
        item = mistake_of(error, text)
        found.setdefault((item.span.start if item.span else 0, item.message), item)
    return tuple(found.values())


def mistake_of(error: LiquidError, text: str) -> Mistake:
    """Return a mistake that says what python-liquid found, pointing to the place in the text."""
    message = str(error.message or type(error).__name__)
    token = error.token
    span = None
    if token is not None and token.source == text:
        start = min(max(0, token.start_index), max(0, len(text) - 1))
        span = Span(start, start + max(1, min(len(token.value or ""), 40)))
    hint = ""
    if message.startswith("unexpected tag"):
        message = message.replace("unexpected tag", "there is no tag").replace("'", "")
        hint = f"Tags are {', '.join(sorted(TAGS - {'#'}))}."
    return Mistake("syntax", message, hint, span)


def _similar(name: str, dialect: Dialect) -> str:
    if name == "safe":
        return "Values never become markup; what stands in the template is markup already."
    near = get_close_matches(name, list(dialect.filters), n=1)
    return f"Did you mean {near[0]}?" if near else ""


def _span(text: str, item: Any) -> Span:
    start = min(max(0, item.span.index), len(text))
    shown = str(item)
    return Span(start, start + (len(shown) if text.startswith(shown, start) else 1))
