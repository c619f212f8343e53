"""How the code base must read: sizes, names, docstrings, exports, and nothing of the place it was written in."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tailorbird"
MODULES = sorted(SOURCE.rglob("*.py"))
VAGUE = re.compile(r"(Manager|Service|Helper|Util|Utils|Processor|Info|Data|Impl)$|^Base[A-Z]")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def public(nodes: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def text_files() -> list[Path]:
    skipped = {".git", ".venv", "var", "node_modules", "results", "__pycache__", "requirements"}
    kinds = {".py", ".md", ".yaml", ".yml", ".toml", ".json", ".html", ".css", ".js", ""}
    found = []
    for folder, names, files in os.walk(ROOT):
        names[:] = [n for n in names if n not in skipped and (not n.startswith(".") or n == ".ci") and not n.endswith(".columns")]
        found += [Path(folder) / f for f in files if Path(f).suffix in kinds and f not in skipped]  # .git may be a file
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_opens_with_a_sentence_and_stays_readable_in_size(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(tree(path))
    assert docstring, "the module has no docstring"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", "!", ":")), "the docstring does not open with a sentence"
    assert text.count("\n") <= 600, "split the module: over 600 lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_classes_and_functions_say_what_they_are(path: Path) -> None:
    exported = exports(path)
    missing = [
        node.name
        for node in public(tree(path).body)
        if ast.get_docstring(node) is None and (exported is None or node.name in exported)
    ]
    assert not missing, f"without a docstring: {missing}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_class_has_a_vague_name(path: Path) -> None:
    vague = [node.name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef) and VAGUE.search(node.name)]
    assert not vague


def exports(path: Path) -> set[str] | None:
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_a_module_exports_exists(path: Path) -> None:
    exported = exports(path) or set()
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    assert exported <= names, f"exported but not there: {exported - names}"


# The clocks themselves live in core/context.py.
DOMAINS = ("core", "expr", "profiles", "features", "segments", "definitions")


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.relative_to(SOURCE).parts[0] in DOMAINS and p.name != "context.py"], ids=name_of
)
def test_domains_take_time_and_chance_as_arguments(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(time\.time|time_ns|datetime\.now|utcnow|date\.today|import random|from random|uuid4)\b", text)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_neither_prints_nor_evaluates_text(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval"}, f"line {node.lineno}: eval"
            if node.func.id == "print":
                assert path.relative_to(SOURCE).parts[0] == "cli", f"line {node.lineno}: print"


def test_no_text_names_the_place_it_was_written_in() -> None:
    forbidden = re.compile(
        "|".join(
            [
                "/wor" + "k/",
                "/roo" + "t/",
                r"\bhelper [A-H]\d?\b",
                r"\bclau" + "de",
                r"\bsub" + "agent",
                "mirror" + r"\.int",
                "pyp" + "iserver",
            ]
        ),
        re.IGNORECASE,
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found, "\n".join(found)


LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")


@pytest.mark.parametrize("path", [p for p in text_files() if p.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    broken = [
        target
        for target, _ in LINK.findall(path.read_text(encoding="utf-8"))
        if not target.startswith(("http://", "https://", "mailto:")) and not (path.parent / target).exists()
    ]
    assert not broken, f"{path.relative_to(ROOT)}: {broken}"
