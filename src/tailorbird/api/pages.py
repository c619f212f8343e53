"""The two pages for people: what is running here, and what can be asked; nothing on them comes from another site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any, Final

import msgspec

__all__ = ["docs", "home"]

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--dim:#777;--accent:#0a7d5a}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
a{color:var(--accent)}code,pre{font:13px/1.45 ui-monospace,monospace}
pre{overflow:auto;padding:.6rem;border:1px solid var(--line);border-radius:6px}
details{border:1px solid var(--line);border-radius:6px;margin:.4rem 0;padding:.4rem .7rem}summary{cursor:pointer}
b{display:inline-block;min-width:4.2rem;color:var(--accent);font:600 12px ui-monospace,monospace}
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}.dim{color:var(--dim)}
"""


_QUOTED: Final = re.compile("`([^`]*)`")
_TYPES: Final = {"string": "text", "boolean": "true or false", "integer": "whole number", "array": "list"}


def _text(text: str) -> str:
    """Return text for the page; what stands between backquotes is code."""
    return _QUOTED.sub(r"<code>\1</code>", escape(text))


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style>{body}</html>'
    ).encode()


def home(version: str, facts: Mapping[str, str], address: str) -> bytes:
    """Return the first page: what is running, in a few numbers, where to go, and what to try at ``address``."""
    rows = "".join(f"<tr><td class=dim>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return _page(
        "Tailorbird",
        f"<h1>Tailorbird {escape(version)}</h1><p>Exact live segments, features and timelines of the people you serve.</p>"
        f"<table>{rows}</table>"
        '<h2>Where to go</h2><ul><li><a href="/docs">/docs</a> what can be asked, with examples</li>'
        '<li><a href="/openapi.json">/openapi.json</a> the same for machines</li>'
        '<li><a href="/health">/health</a> · <a href="/metrics">/metrics</a></li>'
        '<li><a href="/api/v1/segments">/api/v1/segments</a> · <a href="/api/v1/definitions">/api/v1/definitions</a> · '
        '<a href="/api/v1/profiles">/api/v1/profiles</a></li></ul>'
        f"<h2>Send an event</h2><pre>curl -s {escape(address)}/api/v1/events -H 'Content-Type: application/json' \\\n"
        '  -d \'{"type": "page.viewed", "profile": "ann", "data": {"url": "/pricing"}}\'</pre>',
    )


def docs(schema: Mapping[str, Any]) -> bytes:
    """Return the reference as a page, made from the OpenAPI."""
    groups: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(_operation(path, method, operation, schema))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(rows)}" for tag, rows in groups.items())
    return _page(
        "Tailorbird · HTTP reference",
        f'<h1>HTTP reference</h1><p><a href="/">Tailorbird</a> · <a href="/openapi.json">OpenAPI</a></p>'
        f"<p>{_text(schema['info'].get('description', ''))}</p>{body}",
    )


def _operation(path: str, method: str, operation: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td class=dim>{escape(p['in'])}{' · required' if p.get('required') else ''}</td>"
        f"<td>{_text(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", ())
    )
    answers = "".join(
        f"<tr><td><code>{escape(str(status))}</code></td><td>{_text(answer.get('description', ''))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    fields = f"<p class=dim>Body</p><table>{_fields(body, schema)}</table>" if body else ""
    title, rest = _said(operation)
    scope = operation.get("x-scope")
    needs = f"<p class=dim>scope <code>{escape(scope)}</code></p>" if scope else ""
    return (
        f"<details><summary><b>{method.upper()}</b><code>{escape(path)}</code> "
        f"<span class=dim>{_text(title)}</span></summary>"
        f"{f'<p>{_text(rest)}</p>' if rest else ''}{needs}<table>{parameters}</table>{fields}"
        f"<p class=dim>Answers</p><table>{answers}</table></details>"
    )


def _said(operation: Mapping[str, Any]) -> tuple[str, str]:
    """Return what an operation does in a line, and the rest of what is said of it.

    A title that was only made out of the operation's name says less than the first sentence does.
    """
    title, said = operation.get("summary", ""), operation.get("description", "")
    if re.fullmatch("([A-Z][a-z]* ?)+", title) is None:
        return title, said
    first, stop, rest = said.partition(". ")
    return (first + stop).strip().rstrip("."), rest


def _type(field: Mapping[str, Any]) -> str:
    """Return what a field holds, in a word or two."""
    kinds = [kind for key in ("anyOf", "oneOf") for item in field.get(key, ()) if (kind := _type(item))]
    if not kinds and "type" in field:
        said = field["type"] if isinstance(field["type"], list) else [field["type"]]
        kinds = [_TYPES.get(str(name), str(name)) for name in said]
    return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "null"))


def _fields(body: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    shape: Any = body
    for key in ("anyOf", "oneOf"):
        shape = shape[key][0] if key in shape else shape
    while "$ref" in shape:
        shape = schema["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    required = shape.get("required", ())
    rows = []
    for name, field in shape.get("properties", {}).items():
        example = (field.get("examples") or [None])[0]
        shown = "" if example is None else f"e.g. <code>{escape(msgspec.json.encode(example).decode())}</code>"
        rows.append(
            f"<tr><td><code>{escape(name)}</code></td><td class=dim>{escape(_type(field))}{' · required' if name in required else ''}</td>"
            f"<td>{_text(field.get('description', ''))} {shown}</td></tr>"
        )
    return "".join(rows)
