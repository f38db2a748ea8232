"""What the documents say of the code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tests_that_the_rules_name_exist() -> None:
    text = (ROOT / "docs" / "rules.md").read_text()
    named = re.findall(r"`(test_\w+)::(\w+)`", text)
    files: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        files[path.stem] = files.get(path.stem, "") + path.read_text()
    assert [f"{file}::{test}" for file, test in named if not re.search(rf"\b{test}\b", files.get(file, ""))] == []
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert numbers == list(range(1, 52))
