"""Docker images for agents without Docker: what goes into their stores, and what is undone afterwards."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from ipymesos.local import FlagError, archive, leftovers, settings
from ipymesos.local.images import ROOTFS, Image, Images, split

root = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts of overlayfs are root's")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return archive.cache_folder()


def tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def saved(folder: Path, name: str, layers: list[bytes], config: dict[str, Any], compressed: bool = False) -> None:
    """What `docker save` writes since version 25: the OCI layout, besides manifest.json."""
    told = {"config": config, "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}}
    blobs = [json.dumps(told).encode(), *(gzip.compress(layer) if compressed else layer for layer in layers)]
    paths = [f"blobs/sha256/{digest(blob)[7:]}" for blob in blobs]
    entry = {"Config": paths[0], "RepoTags": [name], "Layers": paths[1:]}
    path = folder / f"{name}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    files = dict(zip(paths, blobs, strict=True)) | {"manifest.json": json.dumps([entry]).encode()}
    path.write_bytes(tar(files | {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}))


LOWER, UPPER = tar({"etc/one": b"1", "etc/two": b"2", "opt/x/old": b""}), tar(
    {"etc/.wh.one": b"", "opt/x/.wh..wh..opq": b"", "opt/x/new": b"3", "opt/.wh..wh.plnk": b""}
)  # fmt: skip


def registered(images: Images, name: str) -> dict[str, Any]:
    with tarfile.open(images.registry / f"{name}.tar") as found:
        return {member.name: json.load(found.extractfile(member)) for member in found}  # type: ignore[arg-type]


@root
@pytest.mark.parametrize("compressed", [False, True])
def test_a_folder_of_archives_goes_into_the_store(tmp_path: Path, compressed: bool) -> None:
    name = "registry.example.org:5000/team/engine:3.1"
    config: dict[str, Any] = {"Env": ["A=1"], "WorkingDir": "/app", "Entrypoint": None, "ExposedPorts": {"80/tcp": {}}}
    saved(tmp_path / "saved", name, [LOWER, UPPER], config, compressed)
    images = Images(tmp_path / "work")
    images.add(str(tmp_path / "saved"))

    files = registered(images, name)
    repository = "registry.example.org:5000/team/engine"
    top = files["repositories"][repository]["3.1"]
    own = files[f"{top}/json"]
    assert own["config"] == {"Env": ["A=1"], "WorkingDir": "/app"}
    chain = [str(own["parent"])]
    chain.append(str(files[f"{chain[0]}/json"]["parent"]))
    assert "parent" not in files[f"{chain[1]}/json"]
    assert chain[1] == digest(LOWER)[7:]
    assert chain[0] == hashlib.sha256(f"{digest(LOWER)} {digest(UPPER)}".encode()).hexdigest()

    assert json.loads((images.store / "layers" / top / "json").read_text()) == own
    lower, upper = (images.store / "layers" / chain[i] / ROOTFS for i in (1, 0))
    assert (lower / "etc/two").read_bytes() == b"2"
    assert stat.S_ISCHR((upper / "etc/one").lstat().st_mode) and (upper / "etc/one").lstat().st_rdev == 0
    assert os.getxattr(upper / "opt/x", "trusted.overlay.opaque") == b"y"
    assert sorted(path.name for path in (upper / "opt").rglob("*")) == ["new", "x"]
    assert lower.stat().st_mode & 0o777 == 0o755


@root
def test_layers_are_unpacked_once_for_all(tmp_path: Path, cache: Path) -> None:
    saved(tmp_path / "saved", "one:1", [LOWER, UPPER], {})
    saved(tmp_path / "saved", "two:1", [LOWER], {"Env": ["B=2"]})
    stores = [Images(tmp_path / work) for work in ("a", "b")]
    for images in stores:
        images.add(str(tmp_path / "saved"))
        images.add(str(tmp_path / "saved"))
    layers = [{path.name for path in images.store.glob("layers/*") if path.is_symlink()} for images in stores]
    assert layers[0] == layers[1] == {path.name for path in (cache / "layers").iterdir()} - {"lock"}
    assert len(layers[0]) == 2


@root
def test_layers_that_nobody_has_are_forgotten_in_time(tmp_path: Path, cache: Path) -> None:
    saved(tmp_path / "saved", "one:1", [LOWER, UPPER], {})
    Images(tmp_path / "a").add(str(tmp_path / "saved"))
    long_ago = time.time() - 30 * 86400
    for layer in (cache / "layers").iterdir():
        os.utime(layer, (long_ago, long_ago))
    Images(tmp_path / "b")
    assert len(list((cache / "layers").iterdir())) == 3, "a cluster that still is there may run from them"
    shutil.rmtree(tmp_path / "a")
    Images(tmp_path / "b")
    assert [path.name for path in (cache / "layers").iterdir()] == ["lock"]
    Images(tmp_path / "b").add(str(tmp_path / "saved"))
    shutil.rmtree(tmp_path / "b")
    Images(tmp_path / "c")
    assert len(list((cache / "layers").iterdir())) == 3, "the next cluster may want them"
    assert len(list((cache / "stores").iterdir())) == 1


def test_an_image_is_told_from_one_of_equal_layers_by_its_settings() -> None:
    one, two = Image(("sha256:a",), {"Env": ["A=1"]}), Image(("sha256:a",), {"Env": ["A=2"]})
    assert one.chain == two.chain == ["a"]
    assert one.id != two.id


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("debian", ("debian", "latest")),
        ("debian:12.1", ("debian", "12.1")),
        ("localhost:5000/debian", ("localhost:5000/debian", "latest")),
        ("example.org/a/b:c", ("example.org/a/b", "c")),
        (f"debian@sha256:{'0' * 64}", ("debian", "latest")),
    ],
)
def test_names_have_tags(name: str, parts: tuple[str, str]) -> None:
    assert split(name) == parts


@pytest.mark.parametrize("content", [b"nonsense", tar({"index.json": b"{}"}), tar({"manifest.json": b"[]"})])
def test_what_docker_did_not_save_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad:1.tar").write_bytes(content)
    with pytest.raises(FlagError, match=r"--image: .*bad:1.tar was not made by `docker save` of one image"):
        Images(tmp_path / "work").add(str(tmp_path))


def test_an_empty_folder_and_a_name_that_is_none_are_refused(tmp_path: Path) -> None:
    images = Images(tmp_path / "work")
    with pytest.raises(FlagError, match=f"there is no file NAME:TAG.tar in {tmp_path}/empty; allowed: an image that"):
        images.add(f"{tmp_path}/empty")
    with pytest.raises(FlagError, match="--image: '--all' is not the name of an image"):
        images.add("--all")


def test_where_images_cannot_run_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FlagError, match="containerizers 'docker' know no such images; allowed: mesos, docker,mesos"):
        settings.check_images("docker", 1)
    with pytest.raises(FlagError, match="2 agents of one process cannot run images; allowed: 1, or a LocalFleet"):
        settings.check_images("mesos", 2)
    monkeypatch.setattr(leftovers, "mounts", lambda: [("cgroup2", "/sys/fs/cgroup", "rw")])
    with pytest.raises(FlagError, match=r"need .*control groups of version 1 \(freezer, cpu, memory\)"):
        settings.check_images("mesos", 1)


def test_control_groups_are_named_by_the_work_dir() -> None:
    assert leftovers.group("/a") == leftovers.group("/a") != leftovers.group("/a/")


def test_links_to_layers_go_and_nothing_else(tmp_path: Path) -> None:
    """As an agent leaves them that is killed while it removes a container."""
    work = tmp_path / "work"
    scratch = work / "agents/0/work/provisioner/containers/c/backends/overlay/scratch"
    outside = {}
    for name, target in (("mine", work / "images"), ("other", Path("/usr"))):
        outside[name] = tmp_path / name
        outside[name].mkdir()
        (outside[name] / "0").symlink_to(target / "0")
        (scratch / name).mkdir(parents=True)
        (scratch / name / "links").symlink_to(outside[name])
    assert leftovers.undo(str(work)) == ""
    assert not outside["mine"].exists()
    assert list(outside["other"].iterdir())
