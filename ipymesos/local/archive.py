"""The official archive of Mesos: found, downloaded once, and never trusted before its sha256 is right.

Mesos was released to the Python package index as `mesos.scheduler`: archives of its Python 2 binding, each with
the whole of Mesos in one shared object. `RELEASES` has all that were ever made for Linux.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from .errors import FlagError, LocalMesosError

PROJECT = "mesos-scheduler"
DEFAULT_VERSION = "1.11.0"
DOWNLOAD_TIMEOUT = 900.0  # s, for 27 MB
RELEASES = {  # version: sha256 of mesos.scheduler-VERSION.linux-x86_64.tar.gz
    "1.4.3": "2f1893a2a0c26ce31208c843c3815ce6821eb83f0808c57287938fe1eccea51c",
    "1.5.2": "973b92c2bde73eba657eb1e2cef8220c53a6ae436ee469384989dfd83dc9b633",
    "1.5.3": "777d62491c1d968644b6fb855967fdbb189c7b93c17ae576ec6e2a6bcb7610fc",
    "1.6.1": "1e7b6787657775610e59d0da2bebc7230f184a9dda53abd4e50d351aa0b2d9c7",
    "1.6.2": "6744b50967fbc1cc634b711c1a73ebc709437c5c6783c3db687cfa7363e8a3d7",
    "1.7.0": "cfaed9d0be936715e9153763d2007b8aa11e8ac092a160dc2769f7fc5301779e",
    "1.7.1": "d1daebbf95f85612e1e64ed2203151abb341a1ec2690dc3822d2e63d8d8bfe92",
    "1.7.2": "3b41a8a5b36990ab9b0483a31b673463ec016c77d5426b9baeec34bb55037693",
    "1.7.3": "14f75c9d6d849d71e8fe476b2e9d6ec2243964ec2a692eb1ffd9c6692051f89b",
    "1.8.0": "4a23876d13b7a278f0e1574d2ff9c8c3b07d845b338c4e4196d42987a96a2e1f",
    "1.8.1": "3a0bfe4151ab0bfd7f94359743342f39fd9e21f72ab9c53151117f491200e2e0",
    "1.9.0": "6829dc7ee6400b7a6d186e966a25d217638b365f5a9ba0b783222a5858f56dcf",
    "1.10.0": "76f111c32a0cd82fc23aff61a85215d4d9ceebb34654d93264d8e64a27483ff5",
    "1.11.0": "1d376f20bca6d05ee8b90c1c123a452b28753497ccc2f1c80ea3ac94c12e8f6e",
}


def check_version(version: str) -> str:
    """The version, if it was ever released; FlagError otherwise."""
    if version not in RELEASES:
        raise FlagError(f"--mesos-version: {version!r} is not a release of Mesos; allowed: {', '.join(RELEASES)}")
    return version


def file_name(version: str) -> str:
    return f"mesos.scheduler-{version}.linux-x86_64.tar.gz"


def cache_folder() -> Path:
    """Where what was downloaded stays: `ipymesos` in the user's cache (XDG base directory specification)."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".cache"
    return base / "ipymesos"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check(path: Path, version: str) -> Path:
    """The file, if it is the archive of that version; FlagError otherwise. For a file that the user names."""
    try:
        found = sha256(path)
    except OSError as error:
        raise FlagError(f"--archive: {path} cannot be read ({error.strerror}); allowed: {file_name(version)}") from None
    if found == RELEASES[version]:
        return path
    for other, digest in RELEASES.items():
        if digest == found:
            raise FlagError(f"--archive: {path} is Mesos {other}, not {version}; add --mesos-version {other}")
    raise FlagError(
        f"--archive: {path} is damaged or not the official archive: its sha256 is {found}, "
        f"that of {file_name(version)} is {RELEASES[version]}"
    )


def obtain(version: str, cache: Path) -> Path:
    """The verified archive in the cache, downloaded when it is not there or is damaged."""
    path = cache / file_name(version)
    if path.exists():
        if sha256(path) == RELEASES[version]:
            return path
        path.unlink()
    part = cache / f".{file_name(version)}.{os.getpid()}"
    try:
        _download(version, part)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _download(version: str, destination: Path) -> None:
    name = file_name(version)
    advice = f"Get the file {name} of the project mesos.scheduler by other means and name it with --archive FILE."
    command = [sys.executable, "-IB", str(Path(__file__).with_name("index.py")), PROJECT, name, str(destination)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise LocalMesosError(f"{name}: no download within {DOWNLOAD_TIMEOUT:g} s. {advice}") from None
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise LocalMesosError(f"{name} could not be downloaded with pip's configuration: {last}. {advice}") from None
    if not answer["fetched"]:
        raise LocalMesosError(f"{name} could not be downloaded with pip's configuration: {answer['problem']}. {advice}")
    found = sha256(destination)
    if found != RELEASES[version]:
        raise LocalMesosError(f"{name}: the index gave a file with sha256 {found}, expected {RELEASES[version]}")
