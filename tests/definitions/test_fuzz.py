"""Whatever is thrown at the reader of definitions, the answer is a list of mistakes or documents."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tailorbird.core.definition import Definition, Kind, Status
from tailorbird.definitions.catalog import Catalog
from tailorbird.definitions.fields import FIELDS
from tailorbird.definitions.files import read
from tailorbird.errors import InvalidDefinition

WORDS = st.sampled_from(
    [
        "kind: segment", "kind: feature", "kind: gate", "name: a", "name: b", "when: x = 1", "when: |", "  x = ",
        "value: count(x)", "members: manual", "---", "- ", "  ", "? ", ": ", "&a ", "*a",
        "!!int ", "!t ", "{", "}", "[", "]", ",", '"', "'", "\\",
        "#", "\t", "%YAML 1.2", "...", "> ", "\u2028", "\ufeff", "\x07", "é", "😀", "null", "1e999", "0x10", "on: [email]", "on",
    ]
)  # fmt: skip
ENDS = st.sampled_from(["", "\n", "\n  "])
TEXTS = st.lists(st.tuples(WORDS, ENDS), max_size=14).map(lambda parts: "".join(word + end for word, end in parts))
LIKELY = st.sampled_from(["x = 1", "a", "7d", "manual"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | LIKELY
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8
)
FIELD_NAMES = sorted({field.name for table in FIELDS.values() for field in table})
DOCUMENTS = st.fixed_dictionaries(
    {"kind": st.sampled_from([*Kind, "x"]), "name": st.sampled_from(["a", "b", "A b", ""])},
    optional=dict.fromkeys(["draft", *FIELD_NAMES], VALUES),
)


def outcome(what: object) -> None:
    try:
        documents = read(what)  # type: ignore[arg-type]
        Catalog.build(
            Definition(kind=d.kind, name=d.name, version=1, status=Status.ACTIVE, spec=d.spec, digest=d.digest, created_at=0)
            for d in documents
        )
    except InvalidDefinition as error:
        assert error.mistakes
        for item in error.mistakes:
            assert item.code and item.render()


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_any_text(text: str) -> None:
    outcome(text + "\n")


@settings(max_examples=150, deadline=None)
@given(st.lists(DOCUMENTS, max_size=4))
def test_any_documents(documents: list[dict[str, object]]) -> None:
    outcome(documents)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_any_json(value: object) -> None:
    outcome(json.dumps([value]))
