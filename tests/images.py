"""The Docker images that tests run, built on first use.

`python -m tests.images` builds them all (scripts/test does, so that their building is not a test's time).
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAG = "test"
DEBIAN_BASE = "debian-py:bookworm"


@functools.cache
def docker_available() -> bool:
    """Docker's engine answers."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=60).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}")


@functools.cache
def base() -> str:
    """The image that ours are built on; its Python has the minor version of this one, as engines and clients must.

    IPYMESOS_TEST_BASE names another. Debian's own (3.11) is made here without pulling, which needs root.
    """
    if named := os.environ.get("IPYMESOS_TEST_BASE"):
        return named
    if sys.version_info[:2] == (3, 11) and os.geteuid() == 0:
        _run("scripts/debian-base", DEBIAN_BASE)
        return DEBIAN_BASE
    return f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim-bookworm"


@functools.cache
def _build() -> None:
    _run("scripts/images", "--base", base(), "--tag", TAG)


def image(name: str) -> str:
    """The tag of our image `name` (base, controller or engine), built from the checkout as it is."""
    if name not in ("base", "controller", "engine"):
        raise ValueError(f"no image {name!r}")
    if not docker_available():
        raise RuntimeError("Docker's engine does not answer; set IPYMESOS_SKIP_DOCKER=1 to leave such tests out")
    _build()
    return f"ipymesos-{name}:{TAG}"


if __name__ == "__main__":
    for built in ("base", "controller", "engine"):
        print(image(built))
