"""The archive: which versions, which file, how it is fetched, and what is refused. No network."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ipymesos.local import archive, library
from ipymesos.local.errors import FlagError, LocalMesosError


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip that knows no index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    return tmp_path / "cache" / "ipymesos"


def test_a_version_that_never_was_is_refused_with_those_that_were() -> None:
    with pytest.raises(
        FlagError, match=r"--mesos-version: '1.12.0' is not a release of Mesos; allowed: 1.4.3, .*1.11.0"
    ):
        archive.check_version("1.12.0")


def test_every_release_has_a_whole_digest() -> None:
    assert archive.DEFAULT_VERSION in archive.RELEASES
    assert all(len(digest) == 64 and int(digest, 16) for digest in archive.RELEASES.values())
    assert len(set(archive.RELEASES.values())) == len(archive.RELEASES)


def test_a_damaged_file_of_the_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / archive.file_name("1.11.0")
    path.write_bytes(b"not the archive")
    with pytest.raises(
        FlagError, match="--archive: .* is damaged or not the official archive: its sha256 is [0-9a-f]{64}"
    ):
        library.prepare("1.11.0", path)


def test_a_missing_file_of_the_user_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"--archive: .*nothing.tar.gz cannot be read \(No such file or directory\)"):
        library.prepare("1.11.0", tmp_path / "nothing.tar.gz")


def test_the_archive_of_another_version_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.tar.gz"
    path.write_bytes(b"as if")
    monkeypatch.setitem(archive.RELEASES, "1.9.0", archive.sha256(path))
    with pytest.raises(FlagError, match="is Mesos 1.9.0, not 1.11.0; add --mesos-version 1.9.0"):
        archive.check(path, "1.11.0")


def test_without_any_index_the_way_out_is_named(own_cache: Path) -> None:
    with pytest.raises(LocalMesosError, match="could not be downloaded .* name it with --archive FILE"):
        library.prepare("1.11.0")
    assert not list(own_cache.glob("*.tar.gz*")), "nothing half-done stays"


def test_a_file_of_the_right_name_and_the_wrong_content_is_not_kept(own_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels" / archive.file_name("1.11.0")).write_bytes(b"something else")
    with pytest.raises(LocalMesosError, match="the index gave a file with sha256 [0-9a-f]{64}, expected 1d376f20bca6"):
        library.prepare("1.11.0")
    assert [path.name for path in own_cache.iterdir()] == ["lock"]


def test_a_folder_of_links_serves(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "wheels" / archive.file_name("1.11.0")
    source.write_bytes(b"good")
    monkeypatch.setitem(archive.RELEASES, "1.11.0", archive.sha256(source))
    own_cache.mkdir(parents=True)
    path = archive.obtain("1.11.0", own_cache)
    assert path.read_bytes() == b"good"
    source.unlink()
    assert archive.obtain("1.11.0", own_cache) == path, "a second time from the cache"
    path.write_bytes(b"rotten")
    with pytest.raises(LocalMesosError, match="could not be downloaded"):
        archive.obtain("1.11.0", own_cache)
    assert not path.exists(), "a damaged file in the cache is never used"


def test_a_python_without_pip_is_explained(tmp_path: Path) -> None:
    index = Path(archive.__file__).with_name("index.py")
    done = subprocess.run(
        [sys.executable, "-ISB", str(index), "mesos-scheduler", "x.tar.gz", str(tmp_path / "x")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert '"fetched": false' in done.stdout
    assert "this Python has no pip that can be asked" in done.stdout


def test_an_archive_without_the_library_is_refused(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty.tar.gz"
    with tarfile.open(path, "w:gz"):
        pass
    monkeypatch.setitem(archive.RELEASES, "1.11.0", archive.sha256(path))
    with pytest.raises(LocalMesosError, match=r"empty.tar.gz has no file \*/_scheduler.so"):
        library.prepare("1.11.0", path)
    assert not list(own_cache.glob("*.so"))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(LocalMesosError, match="Mesos cannot be kept in .*file/ipymesos"):
        library.prepare("1.11.0")


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG base directory specification wants it."""
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/path")
    assert archive.cache_folder() == Path.home() / ".cache" / "ipymesos"
