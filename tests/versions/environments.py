"""Pythons with ipymesos in them, made by pip from our wheels and kept in a cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# Major versions of ipyparallel and ipykernel. There is no 8/7: ipyparallel 8 came before ipykernel 7, and fails on it.
KITS = ("9/7", "9/6", "8/6")
ALSO = ("numpy",)  # what the story uses besides


class CannotMake(Exception):
    """There is no such Python here, or pip can't install that into it; the message is for the table."""


@dataclass(frozen=True)
class Workshop:
    """Makes an environment once for each Python and kit, anew when what is to be installed has changed."""

    cache: Path
    wheels: Path

    @classmethod
    def open(cls, cache: Path) -> Workshop:
        """Our wheels are built here, from the checkout as it is."""
        wheels = cache / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        _run([str(ROOT / "scripts/build"), str(wheels)], "the wheels can't be built")
        return cls(cache, wheels)

    def python(self, minor: str, kit: str) -> Path:
        """The interpreter of that environment."""
        folder = self.cache / f"python{minor}-ipyparallel{kit.replace('/', '-ipykernel')}"
        python = folder / "bin" / "python"
        base, ours = find(minor), sorted(map(str, self.wheels.glob("*.whl")))
        wanted = [
            f"{name}=={major}.*" for name, major in zip(("ipyparallel", "ipykernel"), kit.split("/"), strict=True)
        ]
        recipe = digest(base, wanted, ALSO)
        if _stamp(folder / "recipe") != recipe:
            shutil.rmtree(folder, ignore_errors=True)
            _run([str(base), "-m", "venv", str(folder)], f"Python {minor} makes no environment")
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, *ours, *wanted, *ALSO], "pip can't install it")
            (folder / "recipe").write_text(recipe)
        elif _stamp(folder / "ours") != digest(*ours):
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "--no-deps", "--force-reinstall", *ours], "pip can't install it")
        (folder / "ours").write_text(digest(*ours))
        return python


def find(minor: str) -> Path:
    """A Python of this minor version: the one of that name, else the newest of pyenv."""
    named = shutil.which(f"python{minor}")
    others = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob(f"{minor}.*/bin/python")
    for path in [*([Path(named)] if named else []), *sorted(others, key=_patch, reverse=True)]:
        answer = subprocess.run(
            [path, "-c", "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True,
        )  # fmt: skip
        if answer.stdout.strip() == minor:
            return path
    raise CannotMake(f"there is no Python {minor} on the machine that tried")


def _patch(path: Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in path.parts[-3].split(".")]


def _stamp(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def digest(*things: object) -> str:
    """Of texts, and of the content of files that are named."""
    total = hashlib.sha256()
    for thing in things:
        total.update(Path(thing).read_bytes() if str(thing).endswith(".whl") else repr(thing).encode())  # type: ignore[arg-type]
    return total.hexdigest()


def _run(command: list[str], problem: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line and "WARNING" not in line]
        raise CannotMake(f"{problem}: {lines[-1] if lines else f'exit status {done.returncode}'}")
