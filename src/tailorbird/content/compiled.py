"""A template made ready for one language and style: parsed once, its variables bound once, then rendered for one person after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from liquid import RenderContext
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import BooleanExpression, Path, StringLiteral
from liquid.builtin.expressions.logical import EqExpression
from liquid.builtin.tags.comment_tag import CommentNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.unless_tag import UnlessNode
from liquid.exceptions import LiquidError
from liquid.expression import Expression
from liquid.token import Token
from liquid.undefined import UNDEFINED

from tailorbird.content.analysis import mistake_of, outline
from tailorbird.content.channels import post_length, sms
from tailorbird.content.escaping import AS_IS, HEADER, Escape, one_line, safe_addresses
from tailorbird.content.limits import DEFAULT, Limits
from tailorbird.content.places import placed
from tailorbird.content.prose import PreparedHtml, from_mjml, inlined, prepared, text_of_html, text_template
from tailorbird.content.rendered import Rendered
from tailorbird.content.spec import Template
from tailorbird.content.style import restyle
from tailorbird.content.syntax import Buffer, Context, Dialect, Missing, Parsed, Run, Value, key_of
from tailorbird.content.values import Binding, Facts, bind, namespace, read_values, told
from tailorbird.errors import InvalidTemplate, Mistake, RenderFailed

__all__ = ["Compiled", "Part", "compile_template"]

Pieces = Mapping[str, Template]
"""The other templates, by name."""

_UNDEFINED: Final[Any] = UNDEFINED
_HEADERS: Final = frozenset({"subject", "preheader"})
_BIG: Final = 10_000


class _Light:
    """The names of one render where nothing is ever assigned: every path is read as a whole."""

    __slots__ = ("autoescape", "disabled_tags", "env", "run", "template")

    def __init__(self, part: Part, run: Run) -> None:
        self.env = part.dialect
        self.template = part.parsed
        self.autoescape = False
        self.disabled_tags: Sequence[str] = ()
        self.run = run

    filter = RenderContext.filter

    def get(self, path: list[object], *, token: Token | None, default: object = _UNDEFINED) -> object:
        run = self.run
        name = key_of(path)
        found = run.flat.get(name)
        if found is not None:
            return found
        if default is not _UNDEFINED:
            return default
        run.looked.append(name)
        return Missing(name, token=token)

    def now(self) -> Any:
        return self.run.now()


class _Slot:
    """A place for one value that is printed as it is."""

    __slots__ = ("escape", "key")

    def __init__(self, key: str, escape: Escape) -> None:
        self.key = key
        self.escape = escape


class _Branches:
    """Conditions in order, each with what is printed when it is the first that holds."""

    __slots__ = ("branches", "otherwise")

    def __init__(self, branches: Sequence[tuple[Callable[[_Light], bool], bool, list[Any]]], otherwise: list[Any]) -> None:
        self.branches = tuple(branches)
        self.otherwise = otherwise

    def chosen(self, light: _Light) -> list[Any]:
        for condition, wanted, operations in self.branches:
            if condition(light) is wanted:
                return operations
        return self.otherwise


def _condition(expression: Expression) -> Callable[[_Light], bool]:
    """Return a test; that a value is there, or equals a text, needs none of Liquid's general comparison."""
    inner = expression.expression if isinstance(expression, BooleanExpression) else expression
    if isinstance(inner, Path) and (key := _literal(inner)) is not None:
        return lambda light, key=key: light.run.flat.get(key) not in (None, False)  # type: ignore[misc]
    if isinstance(inner, EqExpression) and isinstance(inner.left, Path) and isinstance(inner.right, StringLiteral):
        name, text = _literal(inner.left), inner.right.value
        if name is not None:
            return lambda light: light.run.flat.get(name) == text
    return lambda light: bool(expression.evaluate(light))  # type: ignore[arg-type]


def _literal(path: Path) -> str | None:
    return key_of(path.path) if all(isinstance(part, str | int) for part in path.path) else None


class Part:
    """One text of a message, parsed. ``line`` parts are headers: one line whatever happens."""

    __slots__ = ("dialect", "each", "line", "name", "operations", "own", "parsed", "source", "unsettled")

    def __init__(self, name: str, source: str, dialect: Dialect, *, each: bool = False) -> None:
        self.name = name
        self.source = source
        self.dialect = dialect
        self.each = each
        self.line = name in _HEADERS
        self.unsettled = False
        self.own: set[str] = set()
        self.parsed: Parsed = dialect.from_string(source)  # type: ignore[assignment]
        dialect.prepare = self._place
        self._place(self.parsed.nodes)
        self.operations = _plan(self.parsed.nodes)

    def _place(self, nodes: list[Node]) -> None:
        if self.dialect.html:
            found = placed(nodes)
            if found.mistakes:
                raise InvalidTemplate(self.source, tuple(found.mistakes))
            self.unsettled = self.unsettled or found.unsettled
            self.own.update(found.addresses)
        else:
            escape = HEADER if self.line else AS_IS
            waiting = list(nodes)
            while waiting:
                node = waiting.pop()
                if isinstance(node, Value):
                    node.escape = escape
                waiting += node.children(None, include_partials=False)  # type: ignore[arg-type]

    def render(self, run: Run, names: Callable[[], dict[str, Any]]) -> str:
        """Return the text for the values of a run."""
        try:
            if self.operations is not None:
                out: list[str] = []
                _print(self.operations, _Light(self, run), out)
                text = "".join(out)
                if len(text) > run.limits.output:
                    run.spend(len(text))
            else:
                buffer = Buffer(run)
                context = Context(self.parsed, run=run, globals=names())
                self.parsed.render_with_context(context, buffer)
                text = buffer.getvalue()
        except LiquidError as error:
            raise _failed(self, error) from None
        except RenderFailed:
            raise
        except Exception as error:  # filters raise whatever Python does with what they are given
            raise RenderFailed(f"{self.name}: {type(error).__name__} while it was rendered.") from None
        if self.unsettled:
            text = safe_addresses(text, self.own)
        if self.each:
            text = inlined(text)
        return one_line(text) if self.line else text


def _failed(part: Part, error: LiquidError) -> RenderFailed:
    item = mistake_of(error, part.source)
    shown = item.render(part.source) if item.span is not None else item.message
    mistake = Mistake("render_failed", item.message, item.hint, item.span, part.name)
    return RenderFailed(f"{part.name}: {shown}", hint=item.hint, mistakes=(mistake,))


def _plan(nodes: Sequence[Node]) -> list[Any] | None:
    """Return a text as operations that need no state but the values; None when it needs more (loops, assignments)."""
    found: list[Any] = []
    for node in nodes:
        if isinstance(node, ContentNode):
            found.append(node.text)
        elif isinstance(node, Value):
            path = node.path
            found.append(node if path is None else _Slot(path, node.escape))
        elif isinstance(node, IfNode | UnlessNode):
            branches = _branches(node)
            if branches is None:
                return None
            found.append(branches)
        elif not isinstance(node, CommentNode):
            return None
    return found


def _branches(node: IfNode | UnlessNode) -> _Branches | None:
    blocks = [(node.condition, isinstance(node, IfNode), node.consequence)]
    blocks += [(item.expression, True, item.block) for item in node.alternatives or ()]
    made: list[tuple[Callable[[_Light], bool], bool, list[Any]]] = []
    for condition, wanted, block in blocks:
        inner = [] if block.blank else _plan(block.nodes)
        if inner is None:
            return None
        made.append((_condition(condition), wanted, inner))
    otherwise = _plan(node.default.nodes) if node.default and not node.default.blank else []
    return None if otherwise is None else _Branches(made, otherwise)


def _print(operations: list[Any], light: _Light, out: list[str]) -> None:
    run = light.run
    flat = run.flat
    for operation in operations:
        kind = operation.__class__
        if kind is str:
            out.append(operation)
        elif kind is _Slot:
            value = flat.get(operation.key)
            if value is None:
                run.missing[operation.key] = None
                continue
            text = operation.escape(value)
            if len(text) > _BIG:
                run.spend(len(text))
            out.append(text)
        elif kind is _Branches:
            _print(operation.chosen(light), light, out)
        else:
            out.append(operation.text(light))


class Compiled:
    """A template ready to be rendered in one language and style. ``features`` names what has to be known of a person."""

    def __init__(
        self, template: Template, language: str, style: str | None, parts: Sequence[Part], bindings: Sequence[Binding],
        *, text_from_html: bool, restyled: int, limits: Limits,
    ) -> None:  # fmt: skip
        self.template = template
        self.language = language
        self.style = style
        self.parts = tuple(parts)
        self.bindings = tuple(bindings)
        self.text_from_html = text_from_html
        self.restyled = restyled
        self.limits = limits
        self.features = tuple(dict.fromkeys(name.split(".")[1] for name in self.names if name.startswith("features.")))
        self._spelled = {key: binding.name for binding in bindings for key in binding.keys}

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that are read, by their canonical names."""
        return tuple(binding.name for binding in self.bindings)

    def render(self, facts: Facts, *, language_reason: str = "", style_reason: str = "", sources: bool = True) -> Rendered:
        """Return the message for one person; without ``sources`` its ``variables`` are left out. Raises ``RenderFailed``."""
        template = self.template
        flat, values = read_values(self.bindings, facts)
        run = Run(flat, facts.now, self.limits)
        found: dict[str, Any] | None = None

        def names() -> dict[str, Any]:
            nonlocal found
            if found is None:
                found = namespace(flat, facts)
            return found

        content = {part.name: part.render(run, names) for part in self.parts}
        if self.text_from_html:
            content["text"] = text_of_html(content["html"])
        answer = Rendered(
            template=template.name, version=template.version, type=template.type,
            profile=facts.profile.id if facts.profile is not None else None, language=self.language, language_reason=language_reason,
            style=self.style, style_reason=style_reason, personalized_at=facts.now, content=content,
            variables=told(self.bindings, values) if sources else (),
        )  # fmt: skip
        if run.missing:
            self._missing(answer, run)
        if template.type in ("sms", "social") and answer.skipped is None:
            _count(template, answer)
        return answer

    def _missing(self, answer: Rendered, run: Run) -> None:
        """Do what the template says about values that are missing."""
        names = tuple(dict.fromkeys(self._spelled.get(name, name) for name in run.missing))
        answer.missing = names
        shown = ", ".join(names)
        if self.template.missing == "fail":
            raise RenderFailed(
                f"{self.template.name}: nothing is known for {shown}.",
                hint="Give the value, a default in the template, or let the template say missing: skip.",
            )
        if self.template.missing == "skip":
            answer.content = {}
            answer.skipped = f"nothing is known for {shown}"


def _count(template: Template, answer: Rendered) -> None:
    body = answer.content.get("body", "")
    if template.type == "sms":
        counted = sms(body)
        answer.facts = {"encoding": counted.encoding, "length": counted.length, "segments": counted.segments}
        if template.max_segments is not None and counted.segments > template.max_segments:
            raise RenderFailed(
                f"{template.name}: the message takes {counted.segments} segments ({counted.length} characters in {counted.encoding}); "
                f"the template allows {template.max_segments}."
            )  # fmt: skip
        return
    length, limit = post_length(body, template.network)
    answer.facts = {"length": length, "limit": limit, "network": template.network}
    if limit is not None and length > limit:
        raise RenderFailed(f"{template.name}: the post has {length} characters; {template.network} takes {limit}.")


def compile_template(
    template: Template, language: str, style: str | None, *, pieces: Pieces, versions: Mapping[str, int], limits: Limits = DEFAULT
) -> Compiled:
    """Return a template made ready for a language and a style (None: as it is written).

    Raises ``InvalidTemplate``. ``pieces`` are the templates that it may render by name, ``versions`` those of the live features.
    """
    sources, restyled = _sources(template, language, style)
    paths: list[Sequence[Any]] = []
    parts: list[Part] = []
    for name, source in sources.items():
        loader = _loader(pieces, template, "html" if name == "mjml" else name, language)
        paths += _paths(source, name, loader, set())
        parts += _parts(name, source, loader, limits)
    there = {part.name for part in parts}
    derive = "html" in there and "text" not in there and template.type == "email"
    if derive:
        made = _derived(next(part for part in parts if part.name == "html"), _loader(pieces, template, "html", language), limits)
        parts += made
        derive = not made
    bindings = bind(paths, template.defaults, versions)
    return Compiled(template, language, style, parts, bindings, text_from_html=derive, restyled=restyled, limits=limits)


def _sources(template: Template, language: str, style: str | None) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    changes = 0
    for part, (text, written) in template.written(language, style).items():
        source = text.source
        if style and template.restyle and not written:
            done = restyle(source, style, language, html=part in ("html", "mjml"))  # type: ignore[arg-type]
            source, changes = done.text, changes + len(done.changes)
        found[part] = source
    return found, changes


def _loader(pieces: Pieces, template: Template, part: str, language: str) -> Callable[[str], str | None]:
    def load(name: str) -> str | None:
        other = pieces.get(name) if name != template.name else None
        return other.piece(part, language) if other is not None else None

    return load


def _paths(
    source: str, part: str, load: Callable[[str], str | None], seen: set[tuple[str, frozenset[str]]]
) -> Iterable[Sequence[Any]]:
    found = outline(source, part)
    if found.mistakes:
        raise InvalidTemplate(source, found.mistakes)
    for path, _ in found.paths:
        yield path
    for name, span, given in found.pieces:
        if (name, given) in seen:
            continue
        seen.add((name, given))
        text = load(name)
        if text is None:
            raise InvalidTemplate(
                source, (Mistake("unknown_template", f"there is no template called {name} with such a part", span=span),)
            )
        yield from (path for path in _paths(text, part, load, seen) if path[0] not in given)


def _parts(name: str, source: str, load: Callable[[str], str | None], limits: Limits) -> list[Part]:
    if name == "mjml":
        made = from_mjml(source)
        if not isinstance(made, PreparedHtml):
            raise InvalidTemplate(source, (made,))
        return [Part("html", made.source, Dialect(html=True, load=load, limits=limits))]
    if name == "html":
        ready = prepared(source)
        return [Part("html", ready.source, Dialect(html=True, load=load, limits=limits), each=ready.each)]
    return [Part(name, source, Dialect(load=load, limits=limits))]


def _derived(html: Part, load: Callable[[str], str | None], limits: Limits) -> list[Part]:
    """Return the text alternative as a part of its own; nothing where it can only be read from each message."""
    source = text_template(html.source)
    if source is None or html.each or outline(html.source, "html").pieces:
        return []
    try:
        return [Part("text", source, Dialect(load=load, limits=limits))]
    except LiquidError:
        return []
