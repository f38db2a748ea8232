"""Make an x86-64 shared object loadable on a machine that lacks some of the libraries it was linked with.

The edit is done in place and moves nothing, so no offset of the file changes:

1. The version needs (Elf64_Verneed) of a dropped library leave their chain; the loader would otherwise look for a
   library of that name and fail an assertion (glibc, elf/dl-version.c).
2. The DT_NEEDED entry of a dropped library names libc a second time, which the loader ignores.
3. Undefined symbols that came from a dropped library, and those without any version, become weak: address 0 when
   nobody has them, which is harmless as long as nobody calls them.
4. Calls that do happen and must answer "0, success" are given another function of libc by overwriting their name.

Formats: the ELF-64 object file format and the Linux Standard Base on symbol versioning; constants as in elf.h.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_NEEDED, DT_STRTAB, DT_SYMTAB, DT_STRSZ = 0, 1, 5, 6, 10
DT_GNU_HASH, DT_VERSYM, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFE, 0x6FFFFFFF
EM_X86_64, SHN_UNDEF, STB_WEAK = 62, 0, 2
VERSION_MASK, VERSION_GLOBAL = 0x7FFF, 1  # the high bit of a version index hides the symbol; 0 and 1 are "no version"
SYMBOL_SIZE, DYNAMIC_SIZE = 24, 16


class ElfError(Exception):
    """The file is not what this edit understands; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Edit:
    """What to change. `keep` decides by name which needed libraries stay; all others are dropped."""

    keep: Callable[[str], bool]
    rename: Mapping[str, str] = field(default_factory=dict)  # of kept libraries; never longer than the old name
    answer_zero: frozenset[str] = frozenset()  # undefined functions that must exist and return 0
    zero_function: str = "sched_yield"  # of libc: takes nothing, harmless, returns 0 (sched_yield(2))


@dataclass(frozen=True)
class Outcome:
    """What was done: the libraries that the file asked for, those dropped, and the symbols made weak."""

    needed: tuple[str, ...]
    dropped: tuple[str, ...]
    weakened: tuple[str, ...]


class _File:
    """The mapped file, with every read and write checked against its size."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.segments: list[tuple[int, int, int]] = []  # virtual address, offset in the file, size in the file
        self.dynamic: list[tuple[int, int, int]] = []  # offset of the entry, tag, value
        self._read_headers()
        self.strings = self.offset(self.value(DT_STRTAB, "DT_STRTAB"), "string table")
        self.strings_end = self.strings + self.value(DT_STRSZ, "DT_STRSZ")
        if self.strings_end > len(content):
            raise ElfError(f"the string table ends at {self.strings_end}, after the end of the file, {len(content)}")

    def unpack(self, layout: str, offset: int, what: str) -> tuple[int, ...]:
        if offset < 0 or offset + struct.calcsize("<" + layout) > len(self.content):
            raise ElfError(f"{what} at offset {offset} is outside of the file of {len(self.content)} bytes")
        return struct.unpack_from("<" + layout, self.content, offset)

    def pack(self, layout: str, offset: int, value: int) -> None:
        self.unpack(layout, offset, "a field to be written")
        try:
            struct.pack_into("<" + layout, self.content, offset, value)
        except struct.error as error:
            raise ElfError(f"{value} does not fit into the field at offset {offset}: {error}") from None

    def _read_headers(self) -> None:
        ident = self.content[:6]
        if ident != b"\x7fELF\x02\x01":
            raise ElfError(f"not a little-endian 64-bit ELF file: it starts with {ident!r}")
        (machine,) = self.unpack("H", 18, "the machine")
        if machine != EM_X86_64:
            raise ElfError(f"made for machine {machine}, expected {EM_X86_64} (x86-64)")
        (table,) = self.unpack("Q", 32, "the place of the program headers")
        size, count = self.unpack("HH", 54, "the size of the program headers")
        place: tuple[int, int] | None = None
        for i in range(count):
            kind, _flags, offset, address, _physical, length = self.unpack("IIQQQQ", table + i * size, "program header")
            if kind == PT_LOAD:
                self.segments.append((address, offset, length))
            elif kind == PT_DYNAMIC:
                place = offset, length
        if place is None:
            raise ElfError("no dynamic section: not a shared object")
        for offset in range(place[0], place[0] + place[1], DYNAMIC_SIZE):
            tag, value = self.unpack("qQ", offset, "dynamic entry")
            if tag == DT_NULL:
                return
            self.dynamic.append((offset, tag, value))
        raise ElfError("the dynamic section has no end")

    def offset(self, address: int, what: str) -> int:
        """Where in the file the loader takes the byte at a virtual address from."""
        for start, offset, length in self.segments:
            if start <= address < start + length:
                return offset + address - start
        raise ElfError(f"{what}: address {address:#x} is in no loaded segment")

    def value(self, tag: int, name: str) -> int:
        for _offset, found, value in self.dynamic:
            if found == tag:
                return value
        raise ElfError(f"the dynamic section has no {name}")

    def string(self, index: int) -> str:
        start = self.strings + index
        end = self.content.find(b"\0", start, self.strings_end)
        if not self.strings <= start < self.strings_end or end < 0:
            raise ElfError(f"string {index} is outside of the string table")
        return bytes(self.content[start:end]).decode("ascii", "replace")

    def overwrite(self, index: int, text: str) -> None:
        """Put a text, not longer than the one there, in the place of a string."""
        old = self.string(index)
        if len(text) > len(old):
            raise ElfError(f"no room to write {text!r} over {old!r}")
        start = self.strings + index
        self.content[start : start + len(text) + 1] = text.encode("ascii") + b"\0"


def loosen(path: Path, edit: Edit) -> Outcome:
    """Apply the edit to the file, in place. ElfError when it is not understood; the file is then useless."""
    with path.open("r+b") as stream:
        if stream.seek(0, 2) == 0:
            raise ElfError("the file is empty")
        with mmap.mmap(stream.fileno(), 0) as content:
            file = _File(content)
            needed = [(offset, value, file.string(value)) for offset, tag, value in file.dynamic if tag == DT_NEEDED]
            dropped = {name for _offset, _value, name in needed if not edit.keep(name)}
            orphans = _drop_versions(file, dropped)
            _drop_needs(file, needed, dropped, edit.rename)
            weakened = _weaken(file, orphans, edit)
            content.flush()
    return Outcome(tuple(name for _o, _v, name in needed), tuple(sorted(dropped)), tuple(weakened))


def _drop_versions(file: _File, dropped: set[str]) -> set[int]:
    """Unlink the version needs of the dropped libraries; the version indexes that they had."""
    first = file.value(DT_VERNEED, "DT_VERNEED")
    begin = place = file.offset(first, "version needs")
    total = file.value(DT_VERNEEDNUM, "DT_VERNEEDNUM")
    indexes: set[int] = set()
    previous: int | None = None
    kept = 0
    for _ in range(total):
        _version, count, name, auxiliary, step = file.unpack("HHIII", place, "version need")
        if file.string(name) not in dropped:
            previous, kept = place, kept + 1
        else:
            entry = place + auxiliary
            for _ in range(count):
                _hash, _flags, index, _name, following = file.unpack("IHHII", entry, "needed version")
                indexes.add(index & VERSION_MASK)
                entry += following
            if previous is None:
                first = file.value(DT_VERNEED, "DT_VERNEED") + place + step - begin
            else:
                (distance,) = file.unpack("I", previous + 12, "version need")  # vn_next of the last one kept
                file.pack("I", previous + 12, distance + step if step else 0)
        if not step:
            break
        place += step
    if not kept:
        raise ElfError(f"no library with versions would be left of {', '.join(sorted(dropped))}")
    for offset, tag, _value in file.dynamic:
        if tag == DT_VERNEEDNUM:
            file.pack("Q", offset + 8, kept)
        elif tag == DT_VERNEED:
            file.pack("Q", offset + 8, first)
    return indexes


def _drop_needs(file: _File, needed: list[tuple[int, int, str]], dropped: set[str], rename: Mapping[str, str]) -> None:
    libc = next((value for _offset, value, name in needed if name.startswith("libc.so")), None)
    if libc is None:
        raise ElfError(f"libc is not among the needed libraries: {', '.join(n for _, _, n in needed) or 'none'}")
    for offset, value, name in needed:
        if name in dropped:
            file.pack("Q", offset + 8, libc)
        elif name in rename:
            file.overwrite(value, rename[name])


def _weaken(file: _File, orphans: set[int], edit: Edit) -> list[str]:
    """Undefined symbols come first in the symbol table: DT_GNU_HASH says where the defined ones start."""
    symbols = file.offset(file.value(DT_SYMTAB, "DT_SYMTAB"), "symbol table")
    versions = file.offset(file.value(DT_VERSYM, "DT_VERSYM"), "symbol versions")
    hashes = file.offset(file.value(DT_GNU_HASH, "DT_GNU_HASH"), "hash table")
    _buckets, first_defined = file.unpack("II", hashes, "hash table")
    weakened: list[str] = []
    starts: dict[int, str] = {}
    for i in range(1, first_defined):
        entry = symbols + i * SYMBOL_SIZE
        name, info, _other, section = file.unpack("IBBH", entry, "symbol")
        if section != SHN_UNDEF:
            continue
        starts[name] = file.string(name)
        index = file.unpack("H", versions + 2 * i, "symbol version")[0] & VERSION_MASK
        if index > VERSION_GLOBAL and index not in orphans:
            continue
        file.pack("B", entry + 4, STB_WEAK << 4 | info & 15)
        file.pack("H", versions + 2 * i, VERSION_GLOBAL)
        weakened.append(starts[name])
    for start, text in starts.items():
        if text in edit.answer_zero:
            # Linkers let a string be the tail of another: no other name may start inside of what is overwritten.
            shared = [starts[k] for k in range(start + 1, start + len(edit.zero_function) + 1) if k in starts]
            if shared:
                raise ElfError(f"{text} shares its letters with {', '.join(shared)}")
            file.overwrite(start, edit.zero_function)
    return weakened
