"""Files with secrets: whose they are, who else may read them, and what somebody else may put in their place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ipymesos.daemonfile import OwnDaemonFile
from ipymesos.errors import ConfigError
from ipymesos.paths import NotPrivate, check_directory, read_private, write_private

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_what_is_written_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        write_private(tmp_path / "security" / "file", b"secret")
    finally:
        os.umask(old)
    assert mode(tmp_path / "security" / "file") == 0o600
    assert mode(tmp_path / "security") & 0o077 == 0


def test_what_was_open_to_others_is_private_once_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    with open(path, "rb") as reader:  # of somebody who opened it in time
        write_private(path, b"secret")
        assert reader.read() == b"old"
    assert mode(path) == 0o600 and path.read_bytes() == b"secret"


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"theirs")
    for target in (elsewhere, tmp_path / "nowhere"):
        path = tmp_path / "file"
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        write_private(path, b"secret")
        assert not path.is_symlink() and path.read_bytes() == b"secret"
    assert elsewhere.read_bytes() == b"theirs" and not (tmp_path / "nowhere").exists()


def test_the_daemon_file_does_not_follow_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "security").mkdir(mode=0o700)
    path = tmp_path / "security" / "ipymesos.json"
    path.symlink_to(elsewhere)
    mine = OwnDaemonFile(path)
    mine.claim()
    assert not elsewhere.exists() and not path.is_symlink() and mode(path) == 0o600
    mine.leave(None)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o602, 0o660, 0o777])
def test_what_others_may_read_or_write_is_refused_with_the_cure(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"secret")
    path.chmod(bits)
    with pytest.raises(NotPrivate, match=f"mode {bits:o}.*: chmod 600 {path}$") as caught:
        read_private(path)
    assert "secret" not in str(caught.value)
    path.chmod(0o600)
    assert read_private(path) == b"secret"


@needs_root
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    os.chown(path, 12345, -1)
    with pytest.raises(NotPrivate, match="belongs to user 12345, not to you"):
        read_private(path)


def test_a_link_is_followed_only_where_the_user_has_named_it(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.touch(0o600)
    link.symlink_to(path)
    assert read_private(link) == b""
    with pytest.raises(OSError, match="symbolic links"):
        read_private(link, follow=False)
    path.chmod(0o644)  # what counts is the file itself
    with pytest.raises(NotPrivate):
        read_private(link)


def test_a_pipe_does_not_keep_us_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(NotPrivate, match="it isn't a file"):
        read_private(tmp_path / "pipe")


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o1777])
def test_a_directory_that_others_may_change_is_refused_with_the_cure(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "security"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(NotPrivate, match=f"chmod 700 {folder}$"):
        check_directory(folder)
    with pytest.raises(ConfigError, match=f"chmod 700 {folder}$"):
        OwnDaemonFile(folder / "ipymesos.json").claim()
    assert list(folder.iterdir()) == []
    folder.chmod(0o755)  # names are no secrets
    check_directory(folder)
