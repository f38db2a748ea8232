"""The scripts refuse what they do not understand, before they do anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.parametrize("script", ["setup", "images"])
def test_unknown_options(script: str) -> None:
    done = run(f"scripts/{script}", "--nonsense")
    assert done.returncode == 2
    assert f"scripts/{script}: unknown option --nonsense" in done.stderr


@pytest.mark.parametrize("option", ["--base", "--tag"])
def test_options_without_their_value(option: str) -> None:
    done = run("scripts/images", option)
    assert done.returncode != 0 and f"{option} needs" in done.stderr


def test_a_python_that_does_not_serve(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run("scripts/setup", PYTHON=str(old))
    assert done.returncode == 1
    assert f"PYTHON={old} must be a Python 3.10 to 3.13 with the module venv" in done.stderr


@pytest.mark.parametrize("path", sorted([*ROOT.glob("scripts/*"), ROOT / ".ci/run"]), ids=lambda path: path.name)
def test_every_script_runs_and_stops_at_the_first_fault(path: Path) -> None:
    assert os.access(path, os.X_OK)
    text = path.read_text()
    assert text.startswith("#!/usr/bin/env bash\n#") and "\nset -euo pipefail\n" in text
    assert run("bash", "-n", str(path)).returncode == 0
