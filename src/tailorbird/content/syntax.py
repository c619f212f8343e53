"""Liquid as it is spoken here: python-liquid with fewer tags, guarded filters, limits, and values that know how they are escaped.

What is left out either prints without regard to where it stands (``cycle``, ``tablerow``, ``echo``, ``liquid``), or has no
use in a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import StringIO
from time import monotonic
from typing import Any, Final

from liquid import Environment, RenderContext, Undefined
from liquid.ast import Node
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.capture_tag import CaptureNode, CaptureTag
from liquid.exceptions import LiquidError, ResourceLimitError, TemplateNotFoundError
from liquid.expression import Expression
from liquid.template import BoundTemplate
from liquid.token import Token
from liquid.undefined import UNDEFINED

from tailorbird.content.escaping import AS_IS, Escape, Written
from tailorbird.content.filters import guard_filters
from tailorbird.content.limits import DEFAULT, Limits

__all__ = ["Buffer", "Context", "Dialect", "Missing", "Parsed", "Run", "Value", "key_of"]

TAGS: Final = frozenset(
    ["assign", "capture", "case", "comment", "#", "if", "unless", "for", "break", "continue", "render", "include", "doc"]
)
_PSEUDO: Final = frozenset(["content", "illegal", "output"])
_NOTHING: Final = object()
_UNDEFINED: Final[Any] = UNDEFINED
_BIG: Final = 10_000


class Run:
    """One render under way: the values by path, what was looked for in vain, and how much has been used of the limits."""

    __slots__ = ("deadline", "flat", "limits", "looked", "missing", "moment", "spent", "turns")

    def __init__(self, flat: Mapping[str, Any], moment: int, limits: Limits = DEFAULT) -> None:
        self.flat = flat
        self.moment = moment
        self.limits = limits
        self.deadline = monotonic() + limits.seconds
        self.looked: list[str] = []
        self.missing: dict[str, None] = {}
        self.turns = 0
        self.spent = 0

    def now(self) -> datetime:
        """Return the instant of the render."""
        return datetime.fromtimestamp(self.moment / 1000, UTC)

    def tick(self) -> None:
        """Stop when the time is up."""
        if monotonic() > self.deadline:
            raise ResourceLimitError(f"the template takes longer than {self.limits.seconds:g} s", token=None)

    def turn(self, count: int) -> None:
        """Count turns of a loop before it begins."""
        self.turns += count
        if self.turns > self.limits.turns:
            raise ResourceLimitError(f"the loops take more than {self.limits.turns} turns in all", token=None)
        self.tick()

    def spend(self, size: int) -> None:
        """Count characters of output."""
        self.spent += size
        if self.spent > self.limits.output:
            raise ResourceLimitError(f"the output has more than {self.limits.output} characters", token=None)

    def settle(self, before: int, empty: bool) -> None:
        """Note what was looked for since ``before`` as missing, if its place stays empty."""
        if empty:
            self.missing.update(dict.fromkeys(self.looked[before:]))


class Missing(Undefined):
    """A value that is not known: false, empty, and noted where it is printed."""

    __slots__ = ()


class Buffer(StringIO):
    """Where output is gathered, up to the limit."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def write(self, text: str, /) -> int:
        """Write, unless it would be too much or too late."""
        self.run.spend(len(text))
        self.run.tick()
        return super().write(text)


class Context(RenderContext):
    """The names of one render. A null counts as missing, and every turn of every loop is counted."""

    __slots__ = ("run",)

    def __init__(self, template: BoundTemplate, *, run: Run | None = None, **options: Any) -> None:
        super().__init__(template, **options)
        parent = options.get("parent_context")
        self.run: Run = run if run is not None else parent.run if isinstance(parent, Context) else Run({}, 0)

    def get(self, path: list[object], *, token: Token | None, default: object = _UNDEFINED) -> object:
        """Return the value at a path, or what stands for a missing one."""
        found = super().get(path, token=token, default=_NOTHING)
        if found is not _NOTHING and found is not None:
            return found
        if default is not _UNDEFINED:
            return default
        name = key_of(path)
        self.run.looked.append(name)
        return Missing(name, token=token)

    def now(self) -> datetime:
        """Return the instant of the render."""
        return self.run.now()

    def assign(self, key: str, val: Any) -> None:
        """Bind a name."""
        self.run.tick()
        super().assign(key, val)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the turns of a loop that begins."""
        self.run.turn(length)

    def get_buffer(self, buf: Any = None) -> StringIO:
        """Return a buffer for a block whose output is kept."""
        return Buffer(self.run)


def key_of(path: list[Any]) -> str:
    """Return a path as text.

    >>> key_of(["attributes", "plan"]), key_of(["items", 0])
    ('attributes.plan', 'items.0')
    """
    return ".".join(str(part) for part in path)


class Value(OutputNode):
    """A value that is printed; ``escape`` follows from where it stands, and ``defaulted`` says that a filter stands in for it."""

    __slots__ = ("defaulted", "encoded", "escape")

    def __init__(self, token: Token, expression: Expression) -> None:
        super().__init__(token, expression)
        self.escape: Escape = AS_IS
        names = [f.name for f in expression.filters or ()] if isinstance(expression, FilteredExpression) else []
        self.defaulted = "default" in names
        self.encoded = bool(names) and names[-1] == "url_encode"

    @property
    def path(self) -> str | None:
        """The path, when nothing but a path with written-out names is printed."""
        left = self.expression
        if isinstance(left, FilteredExpression) and not left.filters and isinstance(left.left, Path):
            segments = left.left.path
            if all(isinstance(part, str | int) for part in segments):
                return key_of(segments)
        return None

    def text(self, context: Any) -> str:
        """Return what is printed, and note what is missing."""
        run: Run = context.run
        before = len(run.looked)
        value = self.expression.evaluate(context)
        text = "" if isinstance(value, Undefined) else self.escape(value)
        if len(run.looked) > before:
            run.settle(before, not self.defaulted or not text)
        if len(text) > _BIG:
            run.spend(len(text))
        return text

    def render_to_output(self, context: Any, buffer: Any) -> int:
        """Print the value."""
        return int(buffer.write(self.text(context)))


class _Print(Output):
    node_class = Value


class _Capturing(CaptureNode):
    """What is captured in HTML stays markup; its values are escaped already."""

    __slots__ = ()

    def _assign(self, context: Any, buf: StringIO) -> None:
        context.assign(self.name, Written(buf.getvalue()) if context.env.html else buf.getvalue())


class _Capture(CaptureTag):
    node_class = _Capturing


class Parsed(BoundTemplate):
    """A parsed text."""

    context_class = Context


class Dialect(Environment):
    """The language of one part of a template. ``load`` returns the text of another template's part by name, None for none.

    With ``html`` what the template writes and captures is markup; values are not, nor what filters and quoted
    texts make. With ``mistakes`` given, what is wrong is gathered there while parsing goes on.
    """

    template_class = Parsed
    local_namespace_limit = 1_000_000
    context_depth_limit = 2 * DEFAULT.depth
    block_nesting_limit = 20

    def __init__(
        self, *, html: bool = False, load: Callable[[str], str | None] | None = None, mistakes: list[LiquidError] | None = None,
        limits: Limits = DEFAULT,
    ) -> None:  # fmt: skip
        super().__init__()
        self.html = html
        self.load = load
        self.gathered = mistakes
        self.prepare: Callable[[list[Node]], None] | None = None
        self._pieces: dict[str, Parsed] = {}
        for name in [name for name in self.tags if name not in TAGS and name not in _PSEUDO]:
            del self.tags[name]
        self.add_tag(_Print)
        self.add_tag(_Capture)
        guard_filters(self, limits.output, html=html)

    def error(self, exc: Any, msg: str | None = None, token: Token | None = None) -> None:
        """Raise an error, or gather it when texts are only checked."""
        found = exc if isinstance(exc, LiquidError) else exc(msg, token=token)
        if found.token is None:
            found.token = token
        if self.gathered is None or len(self.gathered) >= 20:
            raise found
        self.gathered.append(found)

    def get_template(self, name: str, *, globals: Any = None, context: Any = None, **kwargs: Any) -> BoundTemplate:
        """Return another template's part by the name of that template."""
        if isinstance(context, Context):
            context.run.tick()
        found = self._pieces.get(name)
        if found is None:
            text = self.load(name) if self.load is not None else None
            if text is None:
                raise TemplateNotFoundError(f"there is no template called {name} with such a part")
            found = self.from_string(text, name=name)  # type: ignore[assignment]
            assert isinstance(found, Parsed)
            if self.prepare is not None:
                self.prepare(found.nodes)
            self._pieces[name] = found
        return found
