"""`GET /api/v1/events`: what has happened, and what happens next."""

from __future__ import annotations

from .handler import LONGEST_POLL, Handler, number, whole


class EventsHandler(Handler):
    queries = ("after", "timeout")

    async def get(self) -> None:
        after = whole("after", self.get_query_argument("after", "0"))
        timeout = number("timeout", self.get_query_argument("timeout", "0"))
        await self.service.happened(after, min(timeout, LONGEST_POLL))
        self.answer(self.service.events(after))


ROUTES: list[tuple[str, type[Handler]]] = [(r"/api/v1/events", EventsHandler)]
