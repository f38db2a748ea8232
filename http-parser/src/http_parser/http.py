"""HttpParser: the low-level parser of http-parser 0.9.0, done by httptools."""

from __future__ import annotations

from enum import IntEnum
from urllib.parse import urlsplit

import httptools

from .util import IOrderedDict

__all__ = ["HTTP_BOTH", "HTTP_REQUEST", "HTTP_RESPONSE", "Errno", "HttpParser"]

HTTP_REQUEST = 0
HTTP_RESPONSE = 1
HTTP_BOTH = 2

_RESPONSE_START = b"HTTP/"


class Errno(IntEnum):
    """The error numbers of the original (http_errno in http_parser.h) that httptools lets one tell apart."""

    OK = 0
    INVALID_EOF_STATE = 11
    INVALID_STATUS = 15
    INVALID_METHOD = 16
    INVALID_URL = 17
    UNKNOWN = 32


_Parser = httptools.HttpRequestParser | httptools.HttpResponseParser

_ERRNO_OF = {
    httptools.HttpParserInvalidStatusError: Errno.INVALID_STATUS,
    httptools.HttpParserInvalidMethodError: Errno.INVALID_METHOD,
    httptools.HttpParserInvalidURLError: Errno.INVALID_URL,
}


class _Message:
    """What has been seen of one message; its on_* methods are what httptools calls."""

    def __init__(self) -> None:
        self.parser: _Parser | None = None
        self.body: list[bytes] = []
        self.begun = False
        self._reset()

    def _reset(self) -> None:
        self.url = ""
        self.headers = IOrderedDict()
        self.headers_complete = False
        self.keep_alive = False
        self.complete = False

    def on_message_begin(self) -> None:
        self._reset()
        self.begun = True

    def on_url(self, part: bytes) -> None:
        self.url += part.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        # A name seen again continues its list (RFC 9110, 5.3). Trailing headers come here too.
        key, text = name.decode("latin-1"), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.headers_complete = True
        # asked now, as httptools forgets it at the end of the message
        self.keep_alive = self.parser is not None and self.parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        self.body.append(part)

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def chunked(self) -> bool:
        codings = self.headers.get("transfer-encoding", "").lower().split(",")
        return codings[-1].strip() == "chunked"

    @property
    def ends_with_connection(self) -> bool:
        """The body has no stated end (RFC 9112, 6.3, 8): the end of the connection is its end."""
        return self.headers_complete and not self.chunked and "content-length" not in self.headers


class HttpParser:
    """Takes the bytes of a connection as they come and tells what they say.

    `kind` is HTTP_REQUEST, HTTP_RESPONSE, or HTTP_BOTH to find out from the first bytes. Nothing here raises on bad
    input: `execute` returns something else than the length it was given, and `get_errno()` is not 0 from then on.
    """

    # pymesos takes an attribute `errno` for a sign of the pure Python parser, so there must be none.

    def __init__(self, kind: int = HTTP_BOTH) -> None:
        if kind not in (HTTP_REQUEST, HTTP_RESPONSE, HTTP_BOTH):
            raise ValueError(f"kind must be 0 (request), 1 (response) or 2 (both), not {kind!r}")
        self._message = _Message()
        self._unsure = b""  # the first bytes, held back while the kind is not known
        self._error = Errno.OK
        self._upgraded = False
        self._parser: _Parser | None = None
        if kind != HTTP_BOTH:
            self._use(httptools.HttpRequestParser if kind == HTTP_REQUEST else httptools.HttpResponseParser)

    def execute(self, data: bytes, length: int) -> int:
        """Parse `length` bytes of `data` and return how many were used; `length` 0 tells the end of the connection.

        Any other number than `length` says that parsing is over: by an error (`get_errno()` is not 0), or because the
        message asked for an upgrade and the rest belongs to another protocol (`is_upgrade()`; `get_errno()` is 0).
        """
        if self._error or self._upgraded:
            return 0
        if length == 0:
            return self._end_of_connection()
        data = bytes(data[:length])
        length = len(data)
        held = len(self._unsure)
        parser = self._parser or self._choose(data)
        if parser is None:
            self._unsure += data
            return length
        data, self._unsure = self._unsure + data, b""
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = True
            return max(0, int(upgrade.args[0]) - held)
        except httptools.HttpParserError as error:
            self._error = _ERRNO_OF.get(type(error), Errno.UNKNOWN)
            return 0
        return length

    def _use(self, kind: type[_Parser]) -> _Parser:
        self._parser = self._message.parser = kind(self._message)
        return self._parser

    def _choose(self, data: bytes) -> _Parser | None:
        """The parser for what these first bytes begin, or None while they may begin either kind of message."""
        start = (self._unsure + data).lstrip(b"\r\n")[: len(_RESPONSE_START)]
        if start == _RESPONSE_START:
            return self._use(httptools.HttpResponseParser)
        return None if _RESPONSE_START.startswith(start) else self._use(httptools.HttpRequestParser)

    def _end_of_connection(self) -> int:
        message = self._message
        if self._unsure.strip(b"\r\n") or (message.begun and not message.complete):
            if not (isinstance(self._parser, httptools.HttpResponseParser) and message.ends_with_connection):
                self._error = Errno.INVALID_EOF_STATE
                return 1  # as the original: anything but the length
            message.on_message_complete()
        return 0

    def get_errno(self) -> int:
        """0, or the number of the error that ended the parsing (an Errno)."""
        return int(self._error)

    def get_version(self) -> tuple[int, int]:
        """(1, 1) for HTTP/1.1; (0, 0) before the first line is read."""
        if self._parser is None or not self._message.begun:
            return (0, 0)
        major, minor = self._parser.get_http_version().split(".")
        return (int(major), int(minor))

    def get_method(self) -> str:
        """The method of a request; empty for a response."""
        if not isinstance(self._parser, httptools.HttpRequestParser) or not self._message.begun:
            return ""
        return self._parser.get_method().decode("ascii")

    def get_status_code(self) -> int:
        """The status of a response; 0 for a request, and before it is read."""
        if not isinstance(self._parser, httptools.HttpResponseParser) or not self._message.begun:
            return 0
        return self._parser.get_status_code()

    def get_url(self) -> str:
        """The target of a request, as it stands in its first line."""
        return self._message.url

    def get_path(self) -> str:
        return urlsplit(self._message.url).path

    def get_query_string(self) -> str:
        return urlsplit(self._message.url).query

    def get_fragment(self) -> str:
        return urlsplit(self._message.url).fragment

    def get_headers(self) -> IOrderedDict:
        """The headers read so far, found whatever their case; the lines of a repeated one are joined by ", "."""
        return self._message.headers

    def recv_body(self) -> bytes:
        """What has come of the body since the last call; chunk marks are already taken out."""
        body = b"".join(self._message.body)
        self._message.body.clear()
        return body

    def recv_body_into(self, barray: bytearray | memoryview) -> int:
        """Like `recv_body`, into a buffer: returns how many bytes it got; what did not fit comes next time."""
        body = self.recv_body()
        size = min(len(body), len(barray))
        barray[:size] = body[:size]
        if rest := body[size:]:
            self._message.body.append(rest)
        return size

    def is_upgrade(self) -> bool:
        """The message turns the connection over to another protocol (Upgrade, CONNECT)."""
        return self._upgraded

    def is_headers_complete(self) -> bool:
        return self._message.headers_complete

    def is_partial_body(self) -> bool:
        """There is something for `recv_body`."""
        return bool(self._message.body)

    def is_message_begin(self) -> bool:
        return self._message.begun

    def is_message_complete(self) -> bool:
        return self._message.complete

    def is_chunked(self) -> bool:
        return self._message.chunked

    def should_keep_alive(self) -> bool:
        """The connection may carry another message after this one; known once the headers are complete."""
        return self._message.keep_alive
