"""GET /api/v1/stream: what there is to see, and then whatever changes, as server-sent events (HTML, 9.2).

Each message is a JSON object of the kinds that docs/dashboard.md describes; its id is the number of the last event,
from which a client that comes back goes on (Last-Event-ID, or the query `after`).
"""

from __future__ import annotations

import json

from tornado.iostream import StreamClosedError

from ..streams import Watcher
from .handler import Handler, whole

BEAT = 15.0  # seconds without news until a comment shows that we are there
COME_BACK = 1000  # ms until a browser that has lost the connection tries again


class StreamHandler(Handler):
    queries = ("after",)
    watcher: Watcher | None = None

    async def get(self) -> None:
        after = self.request.headers.get("Last-Event-ID") or self.get_query_argument("after", "0")
        watcher = self.watcher = self.service.watch(whole("after", after))
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.write(f"retry: {COME_BACK}\n\n")
        try:
            while not self.request.connection.stream.closed():  # type: ignore[union-attr]
                news = await watcher.news(BEAT)
                if not self.authorized():
                    return  # logged out, or for so long that the login has ended
                self.write(f"id: {watcher.seq}\ndata: {json.dumps(news)}\n\n" if news else ": beat\n\n")
                await self.flush()  # who doesn't read gets nothing more until they do
        except StreamClosedError:
            return
        finally:
            watcher.close()

    def on_connection_close(self) -> None:
        if self.watcher is not None:
            self.watcher.close()


ROUTES: list[tuple[str, type[Handler]]] = [(r"/api/v1/stream", StreamHandler)]
