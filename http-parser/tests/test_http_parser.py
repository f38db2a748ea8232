"""The parser against whole streams, cut anywhere, and against bad ones."""

from __future__ import annotations

import pytest
from http_parser.http import HTTP_BOTH, HTTP_REQUEST, HTTP_RESPONSE, Errno, HttpParser
from hypothesis import given
from hypothesis import strategies as st

EVENTS = [b'{"type":"SUBSCRIBED"}', b'{"type":"HEARTBEAT"}', bytes(range(256)) * 40]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# What a Mesos master answers to SUBSCRIBE, with headers that repeat, are empty, and come after the body.
STREAM = (
    b"HTTP/1.1 200 OK\r\nDate: Sat, 22 Nov 2025 02:00:00 GMT\r\nX-Empty:\r\nMesos-Stream-Id: 130ae4e3-6b13\r\n"
    b"Vary: Accept\r\nvary: Origin\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    + b"".join(chunk(event) for event in EVENTS)
    + b"0\r\nX-Trailer: at last\r\nX-Other: too\r\n\r\n"
)
LENGTH = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry"
CLOSED = b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the end"
REQUEST = b"POST /api/v1?x=1#there HTTP/1.1\r\nHost: master\r\nContent-Length: 4\r\n\r\n{}\r\n"


def feed(parser: HttpParser, pieces: list[bytes]) -> bytes:
    """Give all pieces as pymesos does; the body."""
    body = b""
    for piece in pieces:
        assert parser.execute(piece, len(piece)) == len(piece), parser.get_errno()
        if parser.is_partial_body():
            body += parser.recv_body()
            assert not parser.is_partial_body() and parser.recv_body() == b""
    return body


def cuts(stream: bytes) -> st.SearchStrategy[list[bytes]]:
    """The stream in pieces, cut at any places."""
    places = st.lists(st.integers(1, len(stream) - 1), max_size=30, unique=True).map(sorted)
    return places.map(lambda at: [stream[i:j] for i, j in zip([0, *at], [*at, len(stream)], strict=True)])


def in_bytes(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def check_stream(parser: HttpParser, body: bytes) -> None:
    assert body == b"".join(EVENTS)
    assert parser.is_headers_complete() and parser.is_message_complete() and parser.is_chunked()
    assert parser.get_status_code() == 200 and parser.get_version() == (1, 1)
    headers = parser.get_headers()
    assert headers["MESOS-STREAM-ID"] == headers["mesos-stream-id"] == "130ae4e3-6b13"
    assert headers["Vary"] == "Accept, Origin"
    assert headers["X-Empty"] == ""
    assert headers["X-Trailer"] == "at last" and headers["X-Other"] == "too"
    assert list(headers)[:3] == ["Date", "X-Empty", "Mesos-Stream-Id"]
    assert parser.get_errno() == Errno.OK


@pytest.mark.parametrize("kind", [HTTP_RESPONSE, HTTP_BOTH])
def test_a_chunked_stream_byte_by_byte(kind: int) -> None:
    parser = HttpParser(kind)
    check_stream(parser, feed(parser, in_bytes(STREAM)))


@given(cuts(STREAM))
def test_a_chunked_stream_cut_anywhere(pieces: list[bytes]) -> None:
    parser = HttpParser()
    check_stream(parser, feed(parser, pieces))


def test_events_are_there_as_soon_as_their_bytes() -> None:
    """A subscription never ends: what has come must be given out, whatever may follow."""
    parser = HttpParser()
    head, _, _ = STREAM.partition(b"\r\n\r\n")
    assert feed(parser, [head + b"\r\n\r\n"]) == b""
    assert parser.is_headers_complete()
    for event in EVENTS:
        assert feed(parser, [chunk(event)]) == event
        assert not parser.is_message_complete()


@given(cuts(LENGTH))
def test_a_body_of_stated_length(pieces: list[bytes]) -> None:
    parser = HttpParser()
    assert feed(parser, pieces) == b"sorry"
    assert parser.get_status_code() == 503
    assert parser.is_message_complete() and not parser.is_chunked() and parser.should_keep_alive()
    assert parser.execute(b"", 0) == 0 and parser.get_errno() == Errno.OK


@given(cuts(CLOSED))
def test_a_body_that_ends_with_the_connection(pieces: list[bytes]) -> None:
    parser = HttpParser()
    assert feed(parser, pieces) == b"until the end"
    assert not parser.is_message_complete() and not parser.should_keep_alive()
    assert parser.execute(b"", 0) == 0
    assert parser.is_message_complete() and parser.get_errno() == Errno.OK and parser.get_version() == (1, 0)


@pytest.mark.parametrize("kind", [HTTP_REQUEST, HTTP_BOTH])
@given(pieces=cuts(REQUEST))
def test_a_request(kind: int, pieces: list[bytes]) -> None:
    parser = HttpParser(kind)
    assert feed(parser, pieces) == b"{}\r\n"
    assert (parser.get_method(), parser.get_url()) == ("POST", "/api/v1?x=1#there")
    assert (parser.get_path(), parser.get_query_string(), parser.get_fragment()) == ("/api/v1", "x=1", "there")
    assert parser.is_message_complete() and parser.get_status_code() == 0


@pytest.mark.parametrize("method", ["HEAD", "GET", "HTTP"])
def test_the_kind_is_found_out_by_the_first_bytes(method: str) -> None:
    parser = HttpParser()
    data = f"{method} / HTTP/1.1\r\n\r\n".encode()
    if method == "HTTP":  # no such method: an error, but the one of a request
        assert parser.execute(data, len(data)) != len(data) and parser.get_errno() == Errno.INVALID_METHOD
    else:
        assert feed(parser, in_bytes(data)) == b"" and parser.get_method() == method


def test_before_the_first_byte() -> None:
    parser = HttpParser()
    assert parser.get_status_code() == 0 and parser.get_version() == (0, 0) and parser.get_method() == ""
    assert not (parser.is_message_begin() or parser.is_headers_complete() or parser.is_message_complete())
    assert not (parser.is_partial_body() or parser.is_chunked() or parser.is_upgrade() or parser.should_keep_alive())
    assert dict(parser.get_headers()) == {} and parser.recv_body() == b""
    assert parser.execute(b"", 0) == 0 and parser.get_errno() == Errno.OK


def test_only_the_length_given_is_read() -> None:
    parser = HttpParser()
    assert parser.execute(LENGTH + b"HTTP/1.1 junk", len(LENGTH)) == len(LENGTH)
    assert parser.is_message_complete() and parser.get_errno() == Errno.OK


def test_a_second_message_starts_afresh() -> None:
    parser = HttpParser()
    feed(parser, [STREAM])
    assert feed(parser, in_bytes(LENGTH)) == b"sorry"
    assert parser.get_status_code() == 503 and "Mesos-Stream-Id" not in parser.get_headers()


def test_the_body_into_a_buffer() -> None:
    parser = HttpParser()
    parser.execute(LENGTH, len(LENGTH))
    buffer = bytearray(b"....")
    assert parser.recv_body_into(buffer) == 4 and buffer == b"sorr" and parser.is_partial_body()
    assert parser.recv_body_into(memoryview(buffer)) == 1 and buffer == b"yorr" and not parser.is_partial_body()


@pytest.mark.parametrize(
    "kind, data, errno",
    [
        (HTTP_BOTH, b"HTTP/1.1 2x0 OK\r\n\r\n", Errno.INVALID_STATUS),
        (HTTP_BOTH, b"HTTP/x.1 200 OK\r\n\r\n", Errno.UNKNOWN),
        (HTTP_BOTH, b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Errno.UNKNOWN),
        (HTTP_BOTH, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Errno.UNKNOWN),
        (HTTP_BOTH, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Errno.UNKNOWN),
        (HTTP_BOTH, b"NOSUCH / HTTP/1.1\r\n\r\n", Errno.INVALID_METHOD),
        (HTTP_REQUEST, b"GET nowhere HTTP/1.1\r\n\r\n", Errno.INVALID_URL),
        (HTTP_BOTH, b"\x16\x03\x01\x02\x00TLS", Errno.INVALID_METHOD),
        (HTTP_RESPONSE, REQUEST, Errno.UNKNOWN),
    ],
)
def test_bad_input_is_told_and_ends_the_parsing(kind: int, data: bytes, errno: int) -> None:
    for pieces in ([data], in_bytes(data)):
        parser = HttpParser(kind)
        used = [parser.execute(piece, len(piece)) for piece in pieces]
        assert sum(used) < len(data)
        assert parser.get_errno() == errno
        assert parser.execute(LENGTH, len(LENGTH)) == 0 and not parser.is_message_complete()
        assert not hasattr(parser, "errno")  # pymesos would take it for the pure Python parser


@given(st.binary(min_size=1, max_size=200), st.sampled_from([HTTP_REQUEST, HTTP_RESPONSE, HTTP_BOTH]))
def test_no_bytes_make_it_raise(data: bytes, kind: int) -> None:
    parser = HttpParser(kind)
    used = parser.execute(data, len(data))
    assert 0 <= used <= len(data)
    assert used == len(data) or parser.get_errno() or parser.is_upgrade()


@given(st.integers(0, len(STREAM) - 1), st.integers(0, 255))
def test_a_damaged_stream_never_raises(at: int, value: int) -> None:
    damaged = STREAM[:at] + bytes([value]) + STREAM[at + 1 :]
    parser = HttpParser(HTTP_RESPONSE)
    for piece in in_bytes(damaged):
        if parser.execute(piece, 1) != 1:
            assert parser.get_errno() or parser.is_upgrade()


@pytest.mark.parametrize("part", [b"HTT", STREAM[:40], STREAM[:-1], LENGTH[:-1], REQUEST[:-1]])
def test_a_connection_that_ends_inside_a_message(part: bytes) -> None:
    parser = HttpParser()
    assert feed(parser, [part]) is not None
    assert parser.execute(b"", 0) != 0
    assert parser.get_errno() == Errno.INVALID_EOF_STATE and not parser.is_message_complete()


def test_data_after_the_last_message_of_a_connection_is_refused() -> None:
    closing = LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    parser = HttpParser()
    assert feed(parser, [closing]) == b"sorry"
    assert parser.is_message_complete() and not parser.should_keep_alive()
    assert parser.execute(b"more", 4) != 4 and parser.get_errno()
    assert parser.is_message_complete() and parser.get_status_code() == 503


def test_what_follows_an_upgrade_is_left_to_others() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    for first in (head, b""):
        parser = HttpParser()
        rest = head[len(first) :] + b"\x81\x05hello"
        if first:
            assert parser.execute(first[:3], 3) == 3
            assert parser.execute(first[3:] + rest, len(first + rest) - 3) == len(first) - 3
        else:
            assert parser.execute(rest, len(rest)) == len(head)
        assert parser.is_upgrade() and parser.is_headers_complete() and parser.get_errno() == Errno.OK
        assert parser.execute(b"more", 4) == 0 and parser.recv_body() == b""


def test_a_kind_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="kind must be 0"):
        HttpParser(3)
