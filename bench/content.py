"""One e-mail rendered against python-liquid alone on the same texts, and a template previewed for 10,000 people of a segment."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from liquid import Environment

from _report import report
from tailorbird.content.compiled import compile_template
from tailorbird.content.spec import Template
from tailorbird.content.values import Facts
from tailorbird.core.context import ManualClock
from tailorbird.core.profile import Profile, Provenance
from tailorbird.engine import Engine
from tailorbird.runtime.ingest import Incoming

NOW = 1_760_000_000_000
GOALS = {"ratio": 1.10, "preview": 5_000}
SUBJECT = "{{ first_name }}, your plan and what it gives you"
HTML = """<html><body style="font-family: sans-serif; color: #222222">
<p>Hello {{ first_name }} {{ last_name }},</p>
<p>thank you for being with us. You are on the plan <strong>{{ attributes.plan }}</strong> at {{ attributes.company }}, in
{{ attributes.city }}, and we thought you might like to know what has changed since you last looked around.</p>
{% if attributes.plan == "pro" %}<p>As one of our pro customers you may try the new reports before everybody else does: they are
open to you from today, and nothing has to be set up.</p>{% endif %}
<p>Your account is kept under {{ email }}, and the number we have for you is {{ phone }}. If either is out of date, you can change
it at any time, and we will use the new one from then on.</p>
<p><a href="https://shop.example/account?campaign=autumn&amp;title={{ attributes.title }}">Have a look at your account</a></p>
<p>With kind regards,<br>the people at the shop, who read every answer to this message and write back within a day.</p>
</body></html>"""
PERSON = {
    "first_name": "Ann", "last_name": "Lee", "email": "ann@example.com", "phone": "+33 6 12 34 56 78", "plan": "pro",
    "company": "Lee & Sons", "city": "Lyon", "title": "Head of sales",
}  # fmt: skip


def compared(runs: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Return the µs that one call of each takes: the best of many short rounds in turn, so that all meet the same machine."""
    best = [float("inf")] * len(runs)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for place, run in enumerate(runs):
            started = time.perf_counter()
            for _ in range(200):
                run()
            best[place] = min(best[place], (time.perf_counter() - started) / 200)
    return [value * 1e6 for value in best]


def one_email(seconds: float) -> list[list[Any]]:
    """Return what one e-mail takes with and without us."""
    parts = {"subject": SUBJECT, "html": HTML}
    template = Template.read("account", 1, {"type": "email", **parts})
    compiled = compile_template(template, "en", None, pieces={}, versions={})
    origin = Provenance("text", "crm", NOW, 1)
    profile = Profile(key=1, id="p_aaaaaaaaaaaaaaaa", bucket=0, attributes=dict(PERSON), provenance=dict.fromkeys(PERSON, origin))
    facts = Facts(profile, now=NOW)
    answer = compiled.render(facts)
    plain, escaped = Environment(), Environment(autoescape=True)
    text = next(part.source for part in compiled.parts if part.name == "text")
    for name, function in compiled.parts[-1].dialect.filters.items():
        if name.startswith("link_"):
            plain.add_filter(name, function)
    alone = {
        "subject": plain.from_string(SUBJECT), "html": escaped.from_string(HTML), "text": plain.from_string(text),
    }  # fmt: skip
    values = {**PERSON, "attributes": PERSON}
    assert alone["text"].render(**values) == answer.content["text"]
    assert alone["html"].render(**values).replace("Head of sales", "Head%20of%20sales") == answer.content["html"]
    html, same, ours = compared(
        [
            lambda: alone["html"].render(**values),
            lambda: [item.render(**values) for item in alone.values()],
            lambda: compiled.render(facts),
        ],
        seconds,
    )
    rows = [
        ["python-liquid alone: the HTML", html, ""],
        ["python-liquid alone: subject, HTML, text", same, "1.0"],
        [
            "ours: all three, with sources",
            ours,
            f"{ours / same:.2f} (goal {GOALS['ratio']}); {ours / html:.2f} of the HTML alone",
        ],
    ]
    return rows


class Last:
    """The last progress that was told."""

    done = 0

    def put(self, done: int, total: int) -> None:
        assert done <= total
        self.done = done


def preview(people: int, folder: Path) -> list[list[Any]]:
    """Return how fast a template is previewed for a segment in a database."""
    engine = Engine.open(str(folder / "shop.db"), clock=ManualClock(NOW))
    batch: list[Incoming] = []
    for number in range(people):
        attributes = {
            **PERSON,
            "first_name": f"Ann{number}",
            "plan": ("pro", "free")[number % 2],
            "language": ("en", "fr", "de")[number % 3],
        }
        names = {"external_id": f"u{number}"}
        batch.append(Incoming(type="profile.updated", identifiers=names, data={"attributes": attributes}, at=NOW - 1000))
        batch.append(Incoming(type="order.placed", identifiers=names, data={"total": number % 100}, at=NOW - 500))
    for start in range(0, len(batch), 2_000):
        engine.take(batch[start : start + 2_000])
    html = HTML.replace("With kind regards", "You have spent {{ features.spent }}. With kind regards")
    engine.apply(
        [
            {"kind": "attribute", "name": "plan", "type": "text"},
            {"kind": "feature", "name": "spent", "value": "sum(order.placed.total)"},
            {"kind": "segment", "name": "everybody", "when": "did(order.placed)"},
            {
                "kind": "template",
                "name": "account",
                "type": "email",
                "subject": SUBJECT,
                "html": html,
                "variants": {"fr": {"subject": SUBJECT, "html": html}},
            },
        ]
    )
    rows: list[list[Any]] = []
    last = Last()
    for label in ("first time, columns made", "again"):
        started, busy = time.perf_counter(), time.process_time()
        found = engine.content.preview("account", "everybody", sample=None, progress=last.put)
        took, busy = time.perf_counter() - started, time.process_time() - busy
        assert found.rendered == people and found.languages["fr"] >= people // 3 and last.done == people
        told = f"{people / took:,.0f} renders/s (goal {GOALS['preview']:,}); {people / busy:,.0f} per second of processor time"
        rows.append([f"preview of {people:,} people, {label}", took, told])
    engine.close()
    return rows


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--small", action="store_true", help="2,000 people")
    options = parser.parse_args()
    rows = [[what, took, "µs", ratio] for what, took, ratio in one_email(0.5 if options.small else 3.0)]
    with tempfile.TemporaryDirectory() as folder:
        rows += [
            [what, took, "s", told] for what, took, told in preview(2_000 if options.small else options.people, Path(folder))
        ]
    report("content", ["what", "took", "unit", "ratio"], rows, template_bytes=len(HTML))


if __name__ == "__main__":
    main()
