"""The Docker images that tests run, built on first use.

`python -m tests.images` builds them all (scripts/test does, so that their building is not a test's time).
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("dockerfiles", "executor", "http-parser", "scripts/build", "scripts/images")
SUFFIXES = ("", ".py", ".cfg", ".toml", ".Dockerfile")
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
def tag() -> str:
    """Another one for other contents, so that an image that exists is the right one.

    IPYMESOS_TEST_TAG names one that exists, whatever the checkout holds.
    """
    if named := os.environ.get("IPYMESOS_TEST_TAG"):
        return named
    found = hashlib.sha256(base().encode())
    for source in SOURCES:
        path = ROOT / source
        for file in sorted([path] if path.is_file() else path.rglob("*")):
            name = file.relative_to(ROOT)
            if file.is_file() and file.suffix in SUFFIXES and "build" not in name.parts[1:-1]:
                found.update(str(name).encode() + file.read_bytes())
    return f"test-{found.hexdigest()[:12]}"


def _exists(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True).returncode == 0


@functools.cache
def _build() -> None:
    if not all(_exists(f"ipymesos-{name}:{tag()}") for name in ("base", "controller", "engine")):
        _run("scripts/images", "--base", base(), "--tag", tag())


@functools.cache
def derived(name: str, *lines: str) -> str:
    """The tag of an image made as a user does it: FROM ipymesos-engine, and some lines more."""
    made = f"ipymesos-{name}:{tag()}-{hashlib.sha256(repr(lines).encode()).hexdigest()[:6]}"
    dockerfile = "\n".join([f"FROM {image('engine')}", *lines])
    if not _exists(made):
        subprocess.run(["docker", "build", "--quiet", "--network", "host", "--tag", made, "-"], input=dockerfile,
                       text=True, check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return made


def with_sklearn() -> str:
    """What the walkthrough's grid search needs."""
    return derived("sklearn", "RUN pip install --no-cache-dir scikit-learn")


def docker_tag(known: str, other: str) -> None:
    """Give an image another name."""
    subprocess.run(["docker", "tag", known, other], check=True)


def docker_untag(name: str) -> None:
    subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)


def image(name: str) -> str:
    """The tag of our image `name` (base, controller or engine), built from the checkout as it is."""
    if name not in ("base", "controller", "engine"):
        raise ValueError(f"no image {name!r}")
    if not docker_available():
        raise RuntimeError("Docker's engine does not answer; set IPYMESOS_SKIP_DOCKER=1 to leave such tests out")
    _build()
    return f"ipymesos-{name}:{tag()}"


def forget_older() -> None:
    """Remove the tests' images that were made of other contents; those in use stay."""
    form = "{{.Repository}}:{{.Tag}}"
    listed = subprocess.run(
        ["docker", "images", "--filter", "reference=ipymesos-*:test-*", "--format", form],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split():
        if tag() not in name:
            subprocess.run(["docker", "rmi", name], capture_output=True)


if __name__ == "__main__":
    for built in ("base", "controller", "engine"):
        print(image(built))
    print(with_sklearn())
    forget_older()
