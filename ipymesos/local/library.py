"""Mesos' shared object, ready to be loaded: unpacked from the archive, loosened, and kept in the user's cache."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import shutil
import tarfile
from pathlib import Path

from . import archive, elf
from .errors import FlagError, LocalMesosError

MEMBER = "/_scheduler.so"
EDITION = 1  # of the edit below: a higher one makes older files in the cache unused
GLIBC = {"libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "ld-linux-x86-64.so.2"}
KEPT = GLIBC | {"libz.so.1", "libstdc++.so.6", "libgcc_s.so.1"}
# Mesos before 1.8 runs its sockets on libevent; today's version serves in the place of the one it was built with.
LIBEVENT = {
    "libevent-2.0.so.5": "libevent-2.1.so.7",
    "libevent_pthreads-2.0.so.5": "libevent_pthreads-2.1.so.7",
    "libevent-2.1.so.6": "libevent-2.1.so.7",
    "libevent_pthreads-2.1.so.6": "libevent_pthreads-2.1.so.7",
}
PACKAGES = {
    "libz.so.1": "zlib1g",
    "libstdc++.so.6": "libstdc++6",
    "libevent-2.1.so.7": "libevent-2.1-7",
    "libevent_pthreads-2.1.so.7": "libevent-pthreads-2.1-7",
}
# What goes: TLS, curl (fetching URIs), Subversion's diffs of the replicated log, SASL (the old drivers' login) and
# Python 2. Of all these only the following are called at all when a cluster boots; they answer 0 for success.
ANSWER_ZERO = frozenset(("sasl_server_init", "sasl_auxprop_add_plugin", "curl_global_init"))


def keep(name: str) -> bool:
    return name in KEPT or name in LIBEVENT or name in LIBEVENT.values()


def prepare(version: str = archive.DEFAULT_VERSION, given: Path | None = None) -> Path:
    """The loadable library of that Mesos; from the cache, else from the archive `given`, else downloaded.

    FlagError for a version or a file that is not allowed, LocalMesosError when it cannot be had.
    """
    archive.check_version(version)
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise LocalMesosError(
            f"the local Mesos runs on Linux x86-64 only, this is {platform.system()} {platform.machine()}: "
            "name a master with --master"
        )
    if given is not None:
        archive.check(given, version)
    _check_system(version)
    cache = archive.cache_folder()
    path = cache / f"libmesos-{version}-{archive.RELEASES[version][:12]}-{EDITION}.so"
    if path.exists():
        return path
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one of several starts at once does the work, the others wait
            if not path.exists():
                _unpack(given or archive.obtain(version, cache), version, path)
    except OSError as error:
        raise LocalMesosError(f"Mesos cannot be kept in {cache}: {error.strerror} ({error.filename})") from error
    return path


def _check_system(version: str) -> None:
    old = tuple(map(int, version.split("."))) < (1, 8)
    missing = []
    for name, package in PACKAGES.items():
        if old or "libevent" not in name:
            try:
                ctypes.CDLL(name)
            except OSError:
                missing.append((name, package))
    if missing:
        names, packages = (" ".join(column) for column in zip(*missing, strict=True))
        hint = "; allowed without: 1.8.0 and later" if "libevent" in names else ""
        raise FlagError(f"--mesos-version: {version} needs {names} (on Debian: apt-get install {packages}){hint}")


def _unpack(source: Path, version: str, path: Path) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with tarfile.open(source, "r:gz") as tar:
            member = next((m for m in tar if m.name.endswith(MEMBER) and m.isfile()), None)
            stream = tar.extractfile(member) if member else None
            if stream is None:
                raise LocalMesosError(f"{source} has no file *{MEMBER}")
            with part.open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 20)
        elf.loosen(part, elf.Edit(keep=keep, rename=LIBEVENT, answer_zero=ANSWER_ZERO))
        part.rename(path)
    except elf.ElfError as error:
        raise LocalMesosError(f"the library of Mesos {version} is not as expected: {error}") from error
    except tarfile.TarError as error:
        raise LocalMesosError(f"{source} cannot be unpacked: {error}") from error
    finally:
        part.unlink(missing_ok=True)
