"""`GET /metrics`, as Prometheus wants it, for the daemon's token or the one that opens nothing else."""

from __future__ import annotations

from .handler import Handler


class MetricsHandler(Handler):
    def authorized(self) -> bool:
        kind, _, given = self.request.headers.get("Authorization", "").partition(" ")
        return super().authorized() or (kind.lower() == "bearer" and self.service.is_metrics_token(given.strip()))

    async def get(self) -> None:
        kind, text = await self.service.metrics()
        self.set_header("Content-Type", kind)
        self.finish(text)


ROUTES: list[tuple[str, type[Handler]]] = [(r"/metrics", MetricsHandler)]
