"""The REST API's resources for logs. What an agent doesn't give is a 502, what it no longer has a 410."""

from __future__ import annotations

from .handler import Handler, whole

LENGTH = 1 << 16  # bytes of one answer, unless another bound is asked for
MOST_LINES = 100_000


class LogsHandler(Handler):
    def get(self) -> None:
        self.answer(self.service.logs())


class LogHandler(Handler):
    queries = ("stream", "offset", "length", "tail")

    async def get(self, name: str) -> None:
        offset, tail = self._number("offset"), self._number("tail")
        length = self._number("length")
        self.answer(
            await self.service.log(
                name,
                self.get_query_argument("stream", "log"),
                offset,
                LENGTH if length is None else min(length, LENGTH),
                None if tail is None else min(tail, MOST_LINES),
            )
        )

    def _number(self, name: str) -> int | None:
        text = self.get_query_argument(name, None)
        return None if text is None else whole(name, text)
