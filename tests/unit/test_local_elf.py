"""The edit that makes a library loadable, on libraries of this system; Mesos' own is in the integration tests."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipymesos.local import elf


def find(name: str) -> Path:
    """Where the loader found a library of this process."""
    ctypes.CDLL(name)
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split()[-1])
        if ".so" in path.name and path.name.partition(".so")[0] == name.partition(".so")[0]:
            return path
    raise AssertionError(f"{name} is loaded from nowhere")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(find("libstdc++.so.6"), tmp_path / "copy.so"))


def load(path: Path, expression: str = "0") -> subprocess.CompletedProcess[str]:
    code = f"import ctypes; l = ctypes.CDLL({str(path)!r}); print({expression})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def everything_but(*names: str) -> elf.Edit:
    return elf.Edit(keep=lambda name: name not in names)


def test_nothing_to_drop_leaves_a_library_that_loads(library: Path) -> None:
    outcome = elf.loosen(library, everything_but())
    assert outcome.dropped == ()
    assert "libc.so.6" in outcome.needed
    assert load(library).returncode == 0


def test_a_dropped_library_is_needed_no_more(library: Path) -> None:
    outcome = elf.loosen(library, everything_but("libm.so.6"))
    assert outcome.dropped == ("libm.so.6",)
    assert outcome.weakened
    again = elf.loosen(library, everything_but())
    assert "libm.so.6" not in again.needed
    assert again.needed.count("libc.so.6") == 2
    assert load(library).returncode == 0, "the loader takes the edited file"


def test_an_undefined_function_is_renamed_to_one_that_answers_zero(library: Path) -> None:
    before = library.read_bytes()
    edit = elf.Edit(keep=lambda name: True, answer_zero=frozenset(("__cxa_atexit",)), zero_function="getpid")
    elf.loosen(library, edit)
    after = library.read_bytes()
    assert len(after) == len(before)
    assert b"\0__cxa_atexit\0" in before
    assert b"\0__cxa_atexit\0" not in after


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"#!/bin/sh\n" * 20, "not a little-endian 64-bit ELF file"),
        (b"\x7fELF\x01\x01" + bytes(100), "not a little-endian 64-bit ELF file"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00" + bytes(100), "made for machine 183, expected 62"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00", "outside of the file"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\x00" + bytes(44), "no dynamic section"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.so"
    path.write_bytes(content)
    with pytest.raises(elf.ElfError, match=message):
        elf.loosen(path, everything_but())


def test_a_longer_name_has_no_room(library: Path) -> None:
    edit = elf.Edit(keep=lambda name: True, rename={"libm.so.6": "libmathematics.so.6"})
    with pytest.raises(elf.ElfError, match="no room to write 'libmathematics.so.6' over 'libm.so.6'"):
        elf.loosen(library, edit)


def test_libc_itself_cannot_be_dropped(tmp_path: Path) -> None:
    path = Path(shutil.copyfile(find("libz.so.1"), tmp_path / "z.so"))
    with pytest.raises(elf.ElfError, match="no library with versions would be left of libc.so.6"):
        elf.loosen(path, everything_but("libc.so.6"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2**16), st.integers(0, 255)), max_size=4), st.integers(0, 100)
)
def test_damage_is_an_elf_error_or_harmless(tmp_path: Path, flips: list[tuple[int, int, int]], percent: int) -> None:
    """Bytes of the headers and of the tables behind them changed, the end cut off: nothing but ElfError comes out."""
    content = bytearray(find("libz.so.1").read_bytes())
    for near, place, value in flips:
        content[place % (1024 if near else len(content))] = value
    path = tmp_path / "damaged.so"
    path.write_bytes(content[: max(1, len(content) * (100 - percent // 2) // 100)])
    try:
        elf.loosen(path, everything_but("libm.so.6"))
    except elf.ElfError as error:
        assert str(error)
