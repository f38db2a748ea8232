"""Docker images for agents without Docker: taken from the local Docker, or from files that `docker save` made.

An agent looks for images in a folder (`--docker_registry`) of NAME:TAG.tar and unpacks their layers into its store
(`--docker_store_dir`); see provisioner/docker/{image_tar_puller,store}.cpp of Mesos. We put the layers into the store
ourselves, so its archives are left with names alone and the first launch need not wait. Each layer is unpacked once
and for all clusters of this user, into the cache, and the stores point there.

A layer is called by what lies in it and below it (the chain id of the OCI image specification), an image by its
configuration: for each there is an empty uppermost layer of its own, since equal layers may go with other settings.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from . import leftovers
from .archive import cache_folder
from .errors import FlagError, LocalMesosError

Json = dict[str, Any]

NAME = re.compile(r"[\w][\w./:@-]*\Z")
ROOTFS = "rootfs.overlay"  # where the overlay backend looks for a layer's files (provisioner/docker/paths.cpp)
SETTINGS = ("Env", "WorkingDir", "Entrypoint", "Cmd")
WHITEOUT, NOTE, OPAQUE = (
    ".wh.",
    ".wh..wh.",
    ".wh..wh..opq",
)  # what a layer hides of those below it (OCI image specification, layers)
COMPRESSED = {b"\x1f\x8b": "--gzip", b"\x28\xb5": "--zstd"}  # by a file's first bytes
ALLOWED = "allowed: an image that the local Docker has, or a folder of files NAME:TAG.tar made by `docker save`"
DOCKER_TIMEOUT = 600.0  # s
KEPT = 7 * 86400.0  # s that layers stay for the next cluster when none has them


@dataclass(frozen=True)
class Image:
    """What an image consists of: the digests of its layers unpacked, the lowest first, and what it asks to be set."""

    layers: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def chain(self) -> list[str]:
        """The names of its layers in stores."""
        names: list[str] = []
        for digest in self.layers:
            text = f"sha256:{names[-1]} {digest}" if names else digest
            names.append(hashlib.sha256(text.encode()).hexdigest() if names else digest.removeprefix("sha256:"))
        return names

    @property
    def id(self) -> str:
        """The name of its own layer."""
        return hashlib.sha256(json.dumps([self.layers, self.settings], sort_keys=True).encode()).hexdigest()


class Images:
    """The images of one local Mesos, below its work dir: what its agents find, and where they keep it."""

    def __init__(self, work_dir: Path) -> None:
        self.registry, self.store = work_dir / "images" / "registry", work_dir / "images" / "store"
        for folder in (self.registry, self.store / "layers"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked():
            note = _stores() / leftovers.group(str(work_dir))
            if not note.is_symlink():
                note.symlink_to(self.store)

    def add(self, source: str) -> None:
        """An image by its name, or all of a folder. FlagError when there is no such thing."""
        with _locked():
            if not os.path.isabs(source):
                return self._add_from_docker(source)
            files = sorted(Path(source).rglob("*.tar"))
            if not files:
                raise FlagError(f"--image: there is no file NAME:TAG.tar in {source}; {ALLOWED}")
            for file in files:
                with _opened(file) as archive:
                    self._enter(str(file.relative_to(source))[: -len(".tar")], archive.image, archive)

    def _add_from_docker(self, name: str) -> None:
        if not NAME.match(name):
            raise FlagError(f"--image: {name!r} is not the name of an image; {ALLOWED}")
        if shutil.which("docker") is None:
            raise FlagError(f"--image: {name} cannot be taken from Docker, there is no `docker` command; {ALLOWED}")
        told: Json = json.loads(_docker(name, "image", "inspect", "--format", "{{json .}}", name))
        image = Image(tuple(told["RootFS"]["Layers"]), _settings(told["Config"]))
        if all((_layers() / layer).exists() for layer in image.chain):
            return self._enter(name, image, None)
        with tempfile.TemporaryDirectory(prefix=".save-", dir=_layers()) as folder:
            saved = Path(folder) / "image.tar"
            _docker(name, "image", "save", "--output", str(saved), name)
            with _opened(saved) as archive:
                self._enter(name, archive.image, archive)

    def _enter(self, name: str, image: Image, archive: Archive | None) -> None:
        """Make the image known by that name; the archive is for those of its layers that are not in the cache."""
        chain = image.chain
        for position, layer in enumerate(chain):
            cached = _layers() / layer
            if not cached.exists():
                assert archive is not None, "somebody has just emptied the cache"
                with archive.layer(position) as stream:
                    _unpack(stream, cached)
            os.utime(cached)  # used today
            link = self.store / "layers" / layer
            if not link.is_symlink():
                link.symlink_to(cached)
        own: Json = {"id": image.id, "config": dict(image.settings)} | ({"parent": chain[-1]} if chain else {})
        _make_root(self.store / "layers" / image.id / ROOTFS)
        (self.store / "layers" / image.id / "json").write_text(json.dumps(own))
        below: list[Json] = [{"id": layer} | ({"parent": chain[i - 1]} if i else {}) for i, layer in enumerate(chain)]
        repository, tag = split(name)
        index = {repository: {tag: image.id}}
        files = {"repositories": index} | {f"{layer['id']}/json": layer for layer in (*below, own)}
        path = self.registry / f"{name}.tar"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.new")
        with tarfile.open(part, "w") as tar:
            for inside, content in files.items():
                data = json.dumps(content).encode()
                member = tarfile.TarInfo(inside)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        part.rename(path)


class Archive:
    """A file made by `docker save`: of any version, since all of them have manifest.json."""

    def __init__(self, path: Path, tar: tarfile.TarFile) -> None:
        self.path, self.tar = path, tar
        (entry,) = self._json("manifest.json")
        config = self._json(entry["Config"])
        self.image = Image(tuple(config["rootfs"]["diff_ids"]), _settings(config.get("config") or {}))
        self._files: list[str] = entry["Layers"]

    @contextmanager
    def layer(self, position: int) -> Iterator[IO[bytes]]:
        with self._open(self._files[position]) as stream:
            yield stream

    def _json(self, name: str) -> Any:
        with self._open(name) as stream:
            return json.load(stream)

    def _open(self, name: str) -> IO[bytes]:
        stream = self.tar.extractfile(name)  # also behind a link: equal layers are stored once
        if stream is None:
            raise KeyError(name)
        return stream


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    try:
        with tarfile.open(path, "r:") as tar:
            yield Archive(path, tar)
    except (tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise FlagError(f"--image: {path} was not made by `docker save` of one image ({error}); {ALLOWED}") from error
    except OSError as error:
        raise LocalMesosError(f"{path}: {error.strerror or error} ({error.filename or 'the image'})") from error


def split(name: str) -> tuple[str, str]:
    """Repository and tag of an image's name, as the agent looks for them (docker/spec.cpp, parseImageReference)."""
    bare = name.partition("@")[0]
    before, slash, last = bare.rpartition("/")
    repository, _, tag = last.partition(":")
    return f"{before}{slash}{repository}", (tag if bare == name else "") or "latest"


def _settings(config: Mapping[str, Any]) -> Json:
    return {name: config[name] for name in SETTINGS if config.get(name)}


def _layers() -> Path:
    return _cache("layers")


def _stores() -> Path:
    """Links to the stores of all clusters that may be alive."""
    return _cache("stores")


def _cache(name: str) -> Path:
    folder = cache_folder() / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked() -> Iterator[None]:
    """Alone with the cache: one of several starts at once does the work, the others wait and find it done."""
    with (_layers() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in _layers().glob(".*"):  # of somebody who was killed
            shutil.rmtree(part)
        _forget()
        yield


def _forget() -> None:
    """Remove layers that no cluster has, and none had for some days; a cluster's store goes with its work dir."""
    used: set[str] = set()
    for note in _stores().iterdir():
        try:
            used.update(os.listdir(note / "layers"))
        except FileNotFoundError:
            note.unlink()
    for layer in _layers().iterdir():
        if layer.is_dir() and layer.name not in used and time.time() - layer.stat().st_mtime > KEPT:
            shutil.rmtree(layer)


def _docker(image: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DOCKER_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise LocalMesosError(f"docker did not answer within {error.timeout:g} s") from None
    if done.returncode:
        problem = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise FlagError(f"--image: Docker does not give {image} ({problem}); {ALLOWED}")
    return done.stdout


def _unpack(stream: IO[bytes], cached: Path) -> None:
    """A layer, with what it hides written as overlayfs wants it; in place only when it is complete."""
    part = Path(tempfile.mkdtemp(prefix=".unpack-", dir=cached.parent))
    try:
        rootfs = part / ROOTFS
        _make_root(rootfs)
        first = stream.read(2)
        how = [COMPRESSED[first]] if first in COMPRESSED else []
        stream.seek(0)
        command = [
            "tar",
            "--extract",
            *how,
            "--numeric-owner",
            "--preserve-permissions",
            "--directory",
            str(rootfs),
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as tar:
            assert tar.stdin is not None and tar.stderr is not None
            try:
                shutil.copyfileobj(stream, tar.stdin, 1 << 20)
                tar.stdin.close()
            except BrokenPipeError:
                tar.stdin = None  # it says why
            complaint = tar.stderr.read().decode(errors="replace").strip()
        if tar.returncode:
            raise LocalMesosError(f"a layer cannot be unpacked: {(complaint.splitlines() or ['no reason'])[-1]}")
        _hide(rootfs)
        part.rename(cached)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _make_root(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # whatever our umask is: other accounts look for their programs there


def _hide(rootfs: Path) -> None:
    """Whiteouts of layers into those of overlayfs (the kernel's filesystems/overlayfs.rst)."""
    for folder, _, files in os.walk(rootfs):
        for name in files:
            if not name.startswith(WHITEOUT):
                continue
            path = os.path.join(folder, name)
            os.unlink(path)
            if name == OPAQUE:
                os.setxattr(folder, "trusted.overlay.opaque", b"y")
            elif not name.startswith(NOTE):
                os.mknod(os.path.join(folder, name[len(WHITEOUT) :]), 0o600 | 0o020000, os.makedev(0, 0))
