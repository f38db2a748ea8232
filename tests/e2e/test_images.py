"""The images of dockerfiles/ on a real Docker."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid

import pytest

from tests.images import image

pytestmark = pytest.mark.docker


def run(tag: str, *command: str) -> str:
    done = subprocess.run(["docker", "run", "--rm", "--network", "none", tag, *command],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["base", "controller", "engine"])
def test_the_python_on_the_path_has_the_executor(name: str) -> None:
    seen = run(image(name), "python3", "-c", "import sys, json, ipymesos_executor, ipyparallel, pymesos, http_parser;"
               "print(json.dumps([sys.version_info[:2], http_parser.__version__]))")  # fmt: skip
    assert json.loads(seen) == [list(sys.version_info[:2]), "0.9.0+httptools.1"]
    assert "No broken requirements" in run(image(name), "python3", "-m", "pip", "check")


def test_engines_have_numpy_and_nothing_of_the_scheduler() -> None:
    code = "import importlib.util as u; print([bool(u.find_spec(m)) for m in ('numpy', 'ipymesos')])"
    assert run(image("engine"), "python3", "-c", code) == "[True, False]"


def test_a_user_adds_to_the_engine_image() -> None:
    tag = f"ipymesos-test-{uuid.uuid4().hex[:8]}"
    dockerfile = f"FROM {image('engine')}\nRUN pip --version && python3 -c 'import ipymesos_executor' && touch /added\n"
    subprocess.run(["docker", "build", "--quiet", "--tag", tag, "-"], input=dockerfile, text=True, check=True,
                   capture_output=True)  # fmt: skip
    try:
        assert run(tag, "ls", "/added") == "/added"
        assert run(tag, "sh", "-c", "command -v pip; command -v python3").split() == [
            "/opt/ipymesos/bin/pip",
            "/opt/ipymesos/bin/python3",
        ]
    finally:
        subprocess.run(["docker", "rmi", tag], check=True, capture_output=True)
