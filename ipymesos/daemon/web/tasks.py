"""Single engines: POST /api/v1/tasks/ID/retire and .../restart."""

from __future__ import annotations

from .handler import Handler


class TaskHandler(Handler):
    def post(self, task: str, what: str) -> None:
        self.body()
        self.answer(self.service.end_engine(task, replace=what == "restart"))


ROUTES: list[tuple[str, type[Handler]]] = [(r"/api/v1/tasks/([^/]+)/(retire|restart)", TaskHandler)]
