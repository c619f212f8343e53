"""The mapping: what is read of a record, and that what is written reads the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailorbird.crm.mapping import DEFAULT, TRANSFORMS, MappedField, mapping_from, read_field, read_record, write_field
from tailorbird.crm.model import Record
from tailorbird.definitions.files import read
from tailorbird.errors import InvalidDefinition

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**13), st.floats(allow_nan=False, width=32), st.text(max_size=30),
    st.lists(st.text(max_size=8), max_size=5), st.sampled_from(["+33612345678", "2026-01-31T10:00Z",
         "1767225600000", "yes", "4.50", " a;b ;a"]),
)  # fmt: skip
CHAINS = st.lists(st.sampled_from(sorted(TRANSFORMS)), max_size=3, unique=True).map(tuple)


@settings(deadline=None)
@given(value=VALUES, name=st.sampled_from(sorted(TRANSFORMS)))
def test_what_is_written_reads_the_same(value: Any, name: str) -> None:
    field = MappedField(field="x", attribute="x", transform=(name,))
    ours = read_field(field, value, region="FR")
    if ours is not msgspec.UNSET:
        assert read_field(field, write_field(field, ours), region="FR") == ours


@settings(deadline=None)
@given(value=VALUES, chain=CHAINS)
def test_no_value_of_a_crm_breaks_a_transform(value: Any, chain: tuple[str, ...]) -> None:
    field = MappedField(field="x", attribute="x", transform=chain)
    ours = read_field(field, value)
    if ours is not msgspec.UNSET:
        write_field(field, ours)
        msgspec.json.encode(ours)


@pytest.mark.parametrize(
    ("transform", "value", "wanted"),
    [
        (("trim", "lower"), "  Gold ", "gold"),
        (("e164",), "06 12 34 56 78", "+33612345678"),
        (("e164",), "call me", msgspec.UNSET),
        (("date",), 1767225600000, "2026-01-01"),
        (("date",), "2026-01-31T23:59:59-08:00", "2026-01-31"),
        (("date",), "2026-02-31", msgspec.UNSET),
        (("number",), " 4.50 ", 4.5),
        (("number",), "1e999", msgspec.UNSET),
        (("bool",), "Yes", True),
        (("bool",), "perhaps", msgspec.UNSET),
        (("split",), "lawn; snow;;lawn", ["lawn", "snow"]),
        (("join",), ["a", "b"], "a;b"),
        ((), "", None),
    ],
)
def test_each_transform_reads_what_crms_write(transform: tuple[str, ...], value: Any, wanted: Any) -> None:
    assert read_field(MappedField(field="x", attribute="x", transform=transform), value, region="FR") == wanted


def test_a_field_the_record_does_not_name_is_silence_and_an_empty_neutral_one_is_not() -> None:
    mapping = mapping_from({"fields": [{"field": "city"}, {"field": "plan__c"}, {"field": "age", "transform": ["number"]}]})
    assert read_record(mapping, Record(id="1", fields={"age": "old"})) == {"city": None}
    assert read_record(mapping, Record(id="1", city="Lyon", fields={"plan__c": "pro"})) == {"city": "Lyon", "plan__c": "pro"}


def test_without_a_definition_a_status_of_the_crm_is_no_stage_of_ours() -> None:
    found = {item.field: item for item in DEFAULT.fields}
    assert (found["status"].attribute, found["status"].pushes) == ("crm_status", False)
    assert found["email"].attribute == "email"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([{"field": "city"}, {"field": "city"}], "duplicate"),
        ([{"field": "a__c", "attribute": "x"}, {"field": "b__c", "attribute": "x"}], "duplicate"),
        ([{"field": "city", "wins": "them"}], "unknown_choice"),
        ([{"field": "city", "transform": ["shout"]}], "unknown_choice"),
        ([{"field": "Lead Source"}], "missing_field"),
        ([{"attribute": "city"}], "missing_field"),
        ([{"field": "tags"}], "unknown_choice"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused_when_it_is_applied(fields: list[dict[str, Any]], code: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read({"kind": "mapping", "name": "ours", "fields": fields})
    assert code in [mistake.code for mistake in caught.value.mistakes]
