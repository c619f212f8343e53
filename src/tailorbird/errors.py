"""Every error Tailorbird raises, in one tree.

TailorbirdError                 the root; carries ``code`` and the three parts of a good message
├── InvalidInput                a value from outside is not acceptable
│   ├── InvalidEvent            an event cannot be taken in
│   ├── InvalidDefinition       a definition (YAML, JSON, API) cannot be applied
│   ├── InvalidExpression       text in the expression language does not parse or check
│   ├── InvalidTemplate         text of a template does not parse or check
│   └── RenderFailed            a template cannot be rendered for this person: over a limit, or a value is missing
├── NotFound                    what was named does not exist
├── Conflict                    what was asked contradicts what is stored
├── Forbidden                   the caller may not do this
├── OverTime                    a question was given up because it took too long
├── TooLarge                    a body, a batch or a string is over its limit
├── NotInstalled                a part that is installed on wish is not there
└── Unavailable                 the store or another system cannot answer now; trying again may help
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

__all__ = [
    "Conflict",
    "Forbidden",
    "InvalidDefinition",
    "InvalidEvent",
    "InvalidExpression",
    "InvalidInput",
    "InvalidTemplate",
    "Mistake",
    "NotFound",
    "NotInstalled",
    "OverTime",
    "RenderFailed",
    "Span",
    "TailorbirdError",
    "TooLarge",
    "Unavailable",
    "excerpt",
]

_WIDTH: Final = 160
"""Characters of a line of source that an error shows; of a longer one, those around the caret."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of source text: offsets in characters, ``end`` exclusive."""

    start: int
    end: int

    def locate(self, text: str) -> tuple[int, int]:
        """Return the 1-based line and column where the span starts in ``text``.

        >>> Span(4, 5).locate("a\\nb cd")
        (2, 3)
        """
        before = text[: self.start]
        return before.count("\n") + 1, self.start - (before.rfind("\n") + 1) + 1


def excerpt(text: str, span: Span) -> str:
    """Return the line that a span begins in with a caret line below; of a long line what stands around the caret.

    >>> print(excerpt("a = 1 and\\ncuntry = 1", Span(10, 16)))
    cuntry = 1
    ^^^^^^
    >>> [len(line) for line in excerpt("x" * 9_000, Span(8_000, 9_000)).split("\\n")]
    [160, 159]
    """
    begin = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.start)
    end = len(text) if end < 0 else end
    before, after = "", ""
    if end - begin > _WIDTH:
        first = max(begin, min(span.start - _WIDTH // 2, end - _WIDTH + 1))
        before, begin = ("…", first) if first > begin else ("", begin)
        room = begin + _WIDTH - len(before)
        after, end = ("…", room - 1) if room < end else ("", end)
    indent = len(before) + span.start - begin
    width = max(1, min(span.end, end) - span.start)
    return f"{before}{text[begin:end]}{after}\n{' ' * indent}{'^' * width}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong: a stable code, what is wrong, where, and how to mend it.

    ``excerpt`` is the line of the source with a caret line below, for mistakes that travel without their source text.
    """

    code: str
    message: str
    hint: str = ""
    span: Span | None = None
    where: str = ""
    excerpt: str = ""

    def render(self, text: str | None = None) -> str:
        """Return the mistake for a person; with the source text, line, column and a caret are shown.

        >>> print(Mistake("unknown_name", "nothing is called cuntry", span=Span(0, 6)).render("cuntry = 1"))
        line 1, column 1: nothing is called cuntry
          cuntry = 1
          ^^^^^^
        """
        head = f"{self.where}: " if self.where else ""
        tail = f"\n  {self.hint}" if self.hint else ""
        if text is None or self.span is None:
            shown = "".join(f"\n  {line}" for line in self.excerpt.split("\n")) if self.excerpt else ""
            return f"{head}{self.message}{shown}{tail}"
        line, column = self.span.locate(text)
        source, caret = excerpt(text, self.span).split("\n")
        return f"{head}line {line}, column {column}: {self.message}\n  {source}\n  {caret}{tail}"


class TailorbirdError(Exception):
    """Something Tailorbird was asked to do cannot be done; ``code`` is stable, the text is for people."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", mistakes: tuple[Mistake, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.mistakes = mistakes

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        return f"{self.message}{' ' if self.message.endswith(('.', '!', '?', ':')) else '; '}{self.hint}"


class InvalidInput(TailorbirdError):
    """A value from outside is not acceptable; the message names the value's place and the mend."""

    code = "invalid_input"
    status = 422


class InvalidEvent(InvalidInput):
    """An event cannot be taken in: a field is missing, of a wrong type, absurd or too large."""

    code = "invalid_event"


class InvalidDefinition(InvalidInput):
    """A definition cannot be applied; ``mistakes`` lists everything that is wrong with it at once."""

    code = "invalid_definition"

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(m.render() for m in self.mistakes)])


class InvalidExpression(InvalidInput):
    """Text in the expression language does not parse or check; ``mistakes`` carry spans into ``text``."""

    code = "invalid_expression"

    def __init__(self, text: str, mistakes: tuple[Mistake, ...]) -> None:
        self.text = text
        super().__init__("\n".join(m.render(text) for m in mistakes), mistakes=mistakes)


class InvalidTemplate(InvalidInput):
    """Text of a template does not parse or check; ``mistakes`` carry spans into ``text``."""

    code = "invalid_template"

    def __init__(self, text: str, mistakes: tuple[Mistake, ...]) -> None:
        self.text = text
        super().__init__("\n".join(m.render(text) for m in mistakes), mistakes=mistakes)


class RenderFailed(InvalidInput):
    """A template cannot be rendered for this person: it is over a limit, or a value is missing that it may not do without."""

    code = "render_failed"


class NotFound(TailorbirdError):
    """What was named does not exist; the message says what was looked for and how to list what exists."""

    code = "not_found"
    status = 404


class Conflict(TailorbirdError):
    """What was asked contradicts what is stored, for example archiving what another definition needs."""

    code = "conflict"
    status = 409


class Forbidden(TailorbirdError):
    """The caller may not do this; the message names the scope that is missing."""

    code = "forbidden"
    status = 403


class OverTime(TailorbirdError):
    """A question took longer than it may and was given up; the message names the limit and how to ask for less."""

    code = "over_time"
    status = 422

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the answer was not found within {limit / 1000:g} s, and looking for it was given up.",
            hint="Ask with fewer held and sequence, over shorter windows or for one profile, or raise TAILORBIRD_QUESTION_LIMIT.",
        )


class TooLarge(TailorbirdError):
    """A body, a batch or a string is over its limit; the message gives the size and the limit."""

    code = "too_large"
    status = 413


class NotInstalled(TailorbirdError):
    """A part that is installed on wish is not there; the hint is the command that installs it."""

    code = "not_installed"
    status = 501


class Unavailable(TailorbirdError):
    """The store or another system cannot answer now; nothing was applied, and trying again may help."""

    code = "unavailable"
    status = 503
