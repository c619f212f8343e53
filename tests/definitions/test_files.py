"""Reading definitions: forms, limits, and mistakes that say where they stand."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tailorbird.definitions.files import read
from tailorbird.errors import InvalidDefinition


def mistakes(what: object) -> list[str]:
    with pytest.raises(InvalidDefinition) as caught:
        read(what)  # type: ignore[arg-type]
    return [item.render() for item in caught.value.mistakes]


def test_a_folder_is_read_with_all_its_yaml_and_json(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text("kind: segment\nname: a\nwhen: x = 1\n---\nkind: segment\nname: b\nwhen: x = 2\n")
    (tmp_path / "deep" / "c.yml").write_text("- {kind: segment, name: c, members: manual}\n")
    (tmp_path / "d.json").write_text('[{"kind": "feature", "name": "d",\t"value": "1 + 1"}]')
    (tmp_path / ".hidden.yaml").write_text("kind: nonsense\n")
    (tmp_path / "notes.txt").write_text("not read")
    assert [(d.kind, d.name) for d in read(tmp_path)] == [
        ("segment", "a"), ("segment", "b"), ("feature", "d"), ("segment", "c"),
    ]  # fmt: skip


def test_text_and_mappings_and_files_are_read_alike(tmp_path: Path) -> None:
    text = "kind: segment\nname: a\nwhen: x = 1\n"
    path = tmp_path / "one.yaml"
    path.write_text(text)
    value = {"kind": "segment", "name": "a", "when": "x = 1"}
    digests = {read(what)[0].digest for what in (text, path, str(path), value, [value], json.dumps(value))}
    assert len(digests) == 1


def test_layout_makes_no_difference_to_the_digest_but_meaning_does() -> None:
    one = read("kind: segment\nname: a\nwhen: x=1   and y = 2\n")[0]
    two = read("kind: segment\nname: a\nwhen: |\n  x = 1\n  and y=2\n")[0]
    other = read("kind: segment\nname: a\nwhen: x = 1 and y = 3\n")[0]
    assert one.digest == two.digest != other.digest
    assert one.spec["when"] == "x=1   and y = 2"


def test_the_json_form_of_an_expression_is_the_same_definition() -> None:
    from tailorbird.expr.json import to_json
    from tailorbird.expr.parse import parse

    text = 'count(page.viewed where url contains "/pricing", within 7d) >= 3'
    form = to_json(parse(text))
    assert (
        read({"kind": "segment", "name": "a", "when": form})[0].digest
        == read({"kind": "segment", "name": "a", "when": text})[0].digest
    )


def test_every_mistake_of_every_file_is_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: segment\nname: Hot Lead\nwhen: x = 1\n---\nkind: segmnt\nname: b\n")
    (tmp_path / "b.yaml").write_text("kind: feature\nname: f\nvalue: 1\ndescripton: hm\n---\nname: x\n---\n7\n")
    told = mistakes(tmp_path)
    assert len(told) == 5
    assert told[0].startswith(f"{tmp_path}/a.yaml:2: 'Hot Lead' cannot be the name of a segment")
    assert told[1].startswith(f"{tmp_path}/a.yaml:5: 'segmnt' is not a kind") and "Did you mean segment?" in told[1]
    assert told[2].startswith(f"{tmp_path}/b.yaml:4: feature f knows no field descripton") and "description" in told[2]
    assert told[3].startswith(f"{tmp_path}/b.yaml:6: this definition has no kind")
    assert told[4].startswith(f"{tmp_path}/b.yaml:8: a definition is a mapping")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("kind: segment\nname: a\nwhen: x = 1 and )\n", "3:17"),
        ("kind: segment\nname: a\nwhen: 'x = 1 and )'\n", "3:18"),
        ('kind: segment\nname: a\nwhen: "x = \\"y\\" and )"\n', "3:22"),
        ("kind: segment\nname: a\nwhen: |\n  x = 1\n    and )\n", "5:9"),
        ("kind: segment\nname: a\nwhen: >- # why\n  x = 1\n  and )\n", "5:7"),
        ("kind: segment\nname: a\nwhen: x = 1\n  and )\n", "4:7"),
        ("- kind: segment\n  name: a\n  when: x = 1 and )\n", "3:19"),
        ('{"kind": "segment", "name": "a",\n "when": "x = 1 and )"}', "2:21"),
    ],
)
def test_a_mistake_in_an_expression_is_shown_where_it_stands_in_the_file(text: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.json" if text.startswith("{") else "a.yaml")
    path.write_text(text)
    told = mistakes(path)
    assert told[0].startswith(f"{path}:{place}: segment a, when: ")
    source, caret = told[0].splitlines()[1:3]
    assert source[caret.index("^")] == ")"


def test_two_definitions_of_one_name_are_refused_naming_both_places(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("kind: segment\nname: a\nwhen: x = 1\n---\nkind: segment\nname: a\nwhen: x = 2\n")
    assert mistakes(path) == [
        f"{path}:5: segment a is defined twice; the first is at {path}:1\n  Keep one of them, or give it another name."
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: segment\nname: a\n", "segment a has neither when nor members"),
        ("kind: segment\nname: a\nwhen: x = 1\nmembers: manual\n", "segment a has both when and members"),
        ("kind: segment\nname: a\nmembers: auto\n", "'auto' is not one of manual"),
        ("kind: feature\nname: a\n", "feature a needs the field value"),
        ("kind: attribute\nname: a.b\ntype: duration\n", "'duration' is not one of bool"),
        ("kind: attribute\nname: 1a\ntype: text\n", "'1a' cannot be the name of a attribute"),
        ("kind: subscription\nname: a\nevents: []\nurl: https://x.example\n", "[] is not a list of 1 to 1000"),
        ("kind: subscription\nname: a\nevents: [x]\nurl: ftp://x.example\n", "is not an address"),
        ("kind: subscription\nname: a\nevents: [x]\nurl: https://u:p@x.example\n", "must not carry a user or password"),
        ("kind: gate\nname: a\nchannel: email\ncap: {count: 0, per: 7d}\n", "0 is not a whole number from 1"),
        ("kind: gate\nname: a\nchannel: email\ncap: {count: 1, per: week}\n", "'week' is not a duration"),
        ("kind: gate\nname: a\nchannel: email\ncap: {count: 1}\n", "needs the field per"),
        ("kind: gate\nname: a\nchannel: email\nquiet_hours: {from: 25:00, to: 08:00}\n", "'25:00' is not a time of day"),
        ("kind: gate\nname: a\nchannel: email\nquiet_hours: {from: 21:00, to: 08:00, timezone: Mars/Up}\n", "is not a time zone"),
        ("kind: merge_rule\nname: a\nwhen: often\n", "'often' is not one of compatible"),
        ("kind: segment\nname: a\nname: b\nwhen: x = 1\n", "name is given twice"),
        ("kind: segment\nname: &n a\nwhen: *n\n", "anchors and aliases"),
        ("kind: !!python/object:os.system a\n", "the tag"),
        ("kind: [\n", "this is not YAML"),
        ("kind: segment\nname: a\nwhen: [1, 2]\n", "is not an expression"),
        ("a: " + "[" * 40 + "]" * 40 + "\n", "values nest deeper than 32"),
        ('{"kind": "segment"', "this is not JSON"),
        ("\n\n", "no definition was found"),
    ],
)
def test_bad_input_gets_a_clear_answer(text: str, told: str) -> None:
    assert any(told in item for item in mistakes(text))


def test_yaml_traps_read_as_they_look() -> None:
    text = """\
        kind: gate
        name: a
        channel: no
        quiet_hours: {from: 22:30, to: 07:00}
        """
    assert read(dedent(text))[0].spec == {"channel": "no", "quiet_hours": {"from": "22:30", "to": "07:00"}}


def test_a_draft_is_marked_and_the_mark_is_not_part_of_the_spec() -> None:
    document = read("kind: segment\nname: a\ndraft: true\nwhen: x = 1\n")[0]
    assert document.draft and document.spec == {"when": "x = 1"}


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"kind: \xff\n")
    (tmp_path / "b.yaml").write_text("kind: segment\nname: b\n# " + "x" * 1_000_001)
    told = mistakes(tmp_path)
    assert "is not UTF-8" in told[0] and "the limit is 1000000" in told[1]
    assert "no such file" in mistakes(tmp_path / "nothing")[0]


def test_json_escapes_beyond_16_bits_are_one_character() -> None:
    text = '{"kind": "segment", "name": "a", "when": "x = \\"\\ud83d\\ude00\\""}'
    assert read(text)[0].spec["when"] == 'x = "😀"'


def test_the_first_mistakes_are_told_and_the_others_counted() -> None:
    text = "".join(f"kind: segment\nname: s{i}\nwhen: x = 1\nwrong: 1\n---\n" for i in range(500))
    with pytest.raises(InvalidDefinition) as caught:
        read(text)
    told = caught.value.mistakes
    assert caught.value.message == "Nothing was applied: the definitions have 500 mistakes."
    assert [m.code for m in told] == ["unknown_field"] * 25 + ["more_mistakes"]
    assert told[0].where == "text:4" and told[24].where == "text:124"
    assert told[25].message == "… and 475 more"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("kind: segment\nname: a\nwhen: x = 1\n---\n" * 2_001, "text:8004: there are more than 2000 definitions"),
        ("- x\n" * 2_001, "text:2001: there are more than 2000 definitions"),
        (json.dumps([{"kind": "segment"}] * 2_001) + "\n", "text:1: there are more than 2000 definitions"),
        ([{"kind": "segment"}] * 2_001, "definitions: 2001 definitions; the limit is 2000 at once"),
        ("kind: segment\nname: a\nx: [" + "1," * 100_001 + "]", "text:3: there are more than 100000 values"),
        ("kind: segment\nname: a\n" + "x" * 1_000_000, "text: 1000022 characters; the limit is 1000000"),
    ],
)
def test_too_many_definitions_are_refused_before_they_are_looked_at(what: object, told: str) -> None:
    found = mistakes(what)
    assert len(found) == 1 and found[0].startswith(told)


def test_as_many_definitions_as_may_be_read_at_once_are_read() -> None:
    text = "".join(f"---\nkind: segment\nname: s{i}\nwhen: x = 1\n" for i in range(2_000)) + "---\n"
    assert len(read(text)) == 2_000


def test_a_mistake_in_a_long_line_is_shown_in_what_stands_around_it() -> None:
    when = "x = 1 and " * 300 + "y = 3 4 and " + "x = 1 and " * 200 + "y = 2"
    (told,) = mistakes(f"kind: segment\nname: a\nwhen: {when}\n")
    source, caret = (line[2:] for line in told.split("\n")[1:3])
    assert len(source) == 160 and source.startswith("…") and source.endswith("…")
    assert source[caret.index("^") : len(caret)] == "4"


def test_what_a_mistake_quotes_is_cut_off() -> None:
    assert all(len(told) < 1_000 for told in mistakes(f"kind: {'a' * 100_000}\nname: b\n"))
