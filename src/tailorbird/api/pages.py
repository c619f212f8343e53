"""The two pages for people: what is running here, and what can be asked; nothing on them comes from another site."""

from __future__ import annotations

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


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style>{body}</html>'
    ).encode()


def home(version: str, facts: Mapping[str, str]) -> bytes:
    """Return the first page: what is running, in a few numbers, and where to go."""
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
        "<h2>Send an event</h2><pre>curl -s http://127.0.0.1:8321/api/v1/events -H 'Content-Type: application/json' \\\n"
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
        f"<p>{escape(schema['info'].get('description', ''))}</p>{body}",
    )


def _operation(path: str, method: str, operation: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td class=dim>{escape(p['in'])}{' · required' if p.get('required') else ''}</td>"
        f"<td>{escape(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", ())
    )
    answers = "".join(
        f"<tr><td><code>{escape(str(status))}</code></td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    fields = f"<p class=dim>Body</p><table>{_fields(body, schema)}</table>" if body else ""
    scope = operation.get("x-scope")
    needs = f"<p class=dim>scope <code>{escape(scope)}</code></p>" if scope else ""
    return (
        f"<details><summary><b>{method.upper()}</b><code>{escape(path)}</code> "
        f"<span class=dim>{escape(operation.get('summary', ''))}</span></summary>"
        f"<p>{escape(operation.get('description', ''))}</p>{needs}<table>{parameters}</table>{fields}"
        f"<p class=dim>Answers</p><table>{answers}</table></details>"
    )


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
            f"<tr><td><code>{escape(name)}</code></td><td class=dim>{'required' if name in required else ''}</td>"
            f"<td>{escape(field.get('description', ''))} {shown}</td></tr>"
        )
    return "".join(rows)
