"""What an engine remembers of its replies."""

from __future__ import annotations

from typing import Any

from ipymesos_executor.replies import Replies, Reply


def keep(replies: Replies, msg_id: str, *buffers: Any, sent: bool = True) -> None:
    replies.keep(msg_id, "apply_reply", {"status": "ok"}, {"engine": "e"}, buffers, sent)


def test_what_is_kept_is_what_was_said() -> None:
    replies = Replies()
    result = bytearray(b"abc")
    keep(replies, "m", result, memoryview(b"d"))
    result[:] = b"xyz"  # the next task changes what the last one returned
    assert replies.get("m") == Reply("apply_reply", {"status": "ok"}, {"engine": "e"}, (b"abc", b"d"))
    assert replies.get("other") is None
    assert "abc" not in repr(replies.get("m"))


def test_no_more_than_so_many() -> None:
    replies = Replies(most=3)
    for i in range(5):
        keep(replies, f"m{i}")
    assert [bool(replies.get(f"m{i}")) for i in range(5)] == [False, False, True, True, True]


def test_no_more_bytes_than_so_many() -> None:
    replies = Replies(most_bytes=10)
    keep(replies, "a", b"1234", b"56")
    keep(replies, "b", b"1234")
    assert len(replies) == 2
    keep(replies, "c", b"1")
    assert replies.get("a") is None and len(replies) == 2
    keep(replies, "d", bytes(11))
    assert replies.get("d") is None and len(replies) == 2  # its client has it
    keep(replies, "e", bytes(11), sent=False)
    assert replies.get("e") and len(replies) == 1  # nobody has
    keep(replies, "f", b"1")
    assert replies.get("e") is None and replies.get("f")


def test_the_same_one_again_counts_once() -> None:
    replies = Replies(most_bytes=10)
    for _ in range(5):
        keep(replies, "a", b"12345")
    keep(replies, "b", b"12345")
    assert replies.get("a") and replies.get("b")
