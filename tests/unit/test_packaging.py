"""The three distributions: what they hold, what they bring in, and what others find of them."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, entry_points, packages_distributions
from pathlib import Path

import pytest
from ipyparallel.cluster.launcher import find_launcher_class

ROOT = Path(__file__).resolve().parents[2]
OURS = {"http-parser": "http_parser", "ipymesos-executor": "ipymesos_executor", "ipymesos": "ipymesos"}


@pytest.mark.parametrize(
    "kind, name", [("controller", "MesosControllerLauncher"), ("engine", "MesosEngineSetLauncher")]
)
def test_ipyparallel_finds_the_launchers_by_name(kind: str, name: str) -> None:
    found = find_launcher_class("mesos", kind)
    assert found.__module__.startswith("ipymesos.launcher") and found.__name__ == name
    (point,) = entry_points(group=f"ipyparallel.{kind}_launchers", name="mesos")
    assert point.load() is found


def test_the_command_is_there() -> None:
    (command,) = entry_points(group="console_scripts", name="ipymesos")
    assert callable(command.load())


def test_what_is_installed_fits_together() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_module_but_http_parser_stands_in_for_another() -> None:
    owners = packages_distributions()
    for name, module in OURS.items():
        assert set(owners[module]) == {name}
    assert distribution("http-parser").version == "0.9.0+httptools.1"
    for name in ("pymesos", "addict", "six", "kazoo", "ipyparallel", "pyzmq", "tornado"):
        assert "ipymesos" not in (distribution(name).metadata["Author"] or "")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    target = tmp_path_factory.mktemp("wheels")
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([ROOT / "scripts/build", target], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path.name.split("-")[0]: path for path in target.iterdir()}


def test_the_wheels_hold_their_package_whole_and_nothing_else(wheels: dict[str, Path]) -> None:
    sources = {
        "http_parser": ROOT / "http-parser/src",
        "ipymesos_executor": ROOT / "executor",
        "ipymesos": ROOT,
    }
    assert wheels.keys() == sources.keys()
    for module, folder in sources.items():
        with zipfile.ZipFile(wheels[module]) as wheel:
            held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        expected = {
            str(path.relative_to(folder))
            for path in (folder / module).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert held == expected
        assert f"{module}/py.typed" in held


def test_the_wheels_ask_for_the_replacement(wheels: dict[str, Path]) -> None:
    for module in ("ipymesos", "ipymesos_executor"):
        with zipfile.ZipFile(wheels[module]) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = email.message_from_bytes(wheel.read(name))
        assert "http-parser==0.9.0+httptools.1" in metadata.get_all("Requires-Dist", [])
        assert metadata["Requires-Python"] == "<3.14,>=3.10"
