"""Without the extra everything else works, and what needs it says how to get it; with it, nothing loads it before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
if sys.argv[2] == "without":
    sys.modules["liquid"] = None
from tailorbird.engine import Engine
from tailorbird.errors import InvalidDefinition, NotInstalled
with Engine.open(sys.argv[1]) as engine:
    engine.apply({"kind": "segment", "name": "seen", "when": "did(page.viewed)"})
    print("liquid" in sys.modules and sys.modules["liquid"] is not None)
    try:
        engine.apply({"kind": "template", "name": "hi", "type": "plain", "body": "Hi {{ email }}"})
        print(engine.content.render_text("Hi {{ x }}", None, variables={"x": 1}).content["body"])
    except InvalidDefinition as error:
        print(error.mistakes[0].code, error.mistakes[0].hint)
    try:
        engine.content.render_text("Hi", None)
    except NotInstalled as error:
        print(error)
"""


def ran(folder: Path, how: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / f"{how}.db"), how], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_python_liquid_a_template_says_what_to_install(tmp_path: Path) -> None:
    assert ran(tmp_path, "without") == [
        "False",
        "not_installed pip install 'tailorbird[content]'",
        "python-liquid is not installed; templates need it. pip install 'tailorbird[content]'",
    ]


def test_python_liquid_is_loaded_when_a_template_is_there(tmp_path: Path) -> None:
    assert ran(tmp_path, "with") == ["False", "Hi 1"]
