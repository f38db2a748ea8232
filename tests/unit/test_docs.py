"""What the documents say of the code, and of each other."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipymesos.cli.main import COMMANDS
from ipymesos.config import MesosOptions
from ipymesos.daemon.web.openapi import document

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import generated  # noqa: E402

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "dockerfiles/*.md", "executor/*.md", "http-parser/*.md")
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)
CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(path: Path) -> str:
    """A page, with what is generated into it."""
    source = [path.read_text()]
    generated.fill(None, "", source)
    return source[0]


def anchors(text: str) -> Iterator[str]:
    """Those of its headings, as GitHub and MyST make them."""
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    bad = []
    for link in LINK.findall(CODE.sub("", text_of(page))):
        where, _, anchor = link.partition("#")
        if re.match(r"\w+:", where):
            continue
        target = page.parent / where if where else page
        if not target.exists() or anchor and anchor not in anchors(text_of(target)):
            bad.append(link)
    assert bad == []


def test_nothing_is_missing_in_the_reference() -> None:
    said = generated.options()
    assert re.findall(r"^### `(\w+)`$", said, re.MULTILINE) == [
        name for names in generated.sections().values() for name in names
    ]
    assert "Undefined" not in said and "default: `['numpy']`" in said
    assert {name for names in generated.sections().values() for name in names} == set(MesosOptions.option_names())
    assert re.findall(r"^## (.+)$", generated.commands(), re.MULTILINE) == list(COMMANDS)
    paths = re.findall(r"^## [A-Z]+ (/.+)$", generated.rest(), re.MULTILINE)
    assert set(paths) == set(document()["paths"])


def test_commands_that_are_named_exist() -> None:
    """`python -m ipymesos NAME`, wherever somebody is told to type it."""
    named = {
        (page.name, name) for page in PAGES for name in re.findall(r"python -m ipymesos ([a-z]+)", page.read_text())
    }
    assert [one for one in sorted(named) if one[1] not in COMMANDS] == []


def test_the_pages_build_without_a_warning_and_ask_nobody_for_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", ROOT / "docs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    loads = re.compile(r"""<(?:script|img|iframe)[^>]* src="(?:https?:)?//|<link[^>]* href="(?:https?:)?//""")
    assert [page.name for page in tmp_path.rglob("*.html") if loads.search(page.read_text())] == []


def test_the_tests_that_the_rules_name_exist() -> None:
    text = (ROOT / "docs" / "rules.md").read_text()
    named = re.findall(r"`(test_\w+)::(\w+)`", text)
    files: dict[str, str] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        files[path.stem] = files.get(path.stem, "") + path.read_text()
    assert [f"{file}::{test}" for file, test in named if not re.search(rf"\b{test}\b", files.get(file, ""))] == []
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert numbers == list(range(1, 52))
