"""Single engines: POST /api/v1/tasks/ID/retire and .../restart."""

from __future__ import annotations

from ...errors import ConfigError
from .handler import Handler

WHAT = ("retire", "restart")


class TaskHandler(Handler):
    def post(self, task: str, what: str) -> None:
        self.body()
        if what not in WHAT:
            raise ConfigError(f"{what!r}: allowed are {' and '.join(WHAT)}")
        self.answer(self.service.end_engine(task, replace=what == "restart"))


ROUTES: list[tuple[str, type[Handler]]] = [(r"/api/v1/tasks/([^/]+)/([^/]+)", TaskHandler)]
