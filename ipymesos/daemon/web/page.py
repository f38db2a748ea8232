"""The dashboard's files: one page, its style and its program. They show nothing themselves, so everybody may have them.

The page that Mesos' own list of frameworks links to. What it shows comes by the stream and the REST API, after a login.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from .handler import Handler

FILES = Path(__file__).with_name("static")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "img")),
        *(f"{kind} 'none'" for kind in ("base-uri", "form-action", "frame-ancestors")),
        "require-trusted-types-for 'script'",
    ]
)


class FileHandler(Handler):
    def prepare(self) -> None:
        if not self.check_way():
            return
        bucket = self.gate.users if self.logged_in() else self.gate.anybody
        if seconds := bucket.wait():
            self.slow_down(seconds)

    def get(self, name: str) -> None:
        found = _files().get(name)
        if found is None:
            self.telling = True
            self.refuse(404, "there is nothing here; see /")
            return
        content, tag = found
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Content-Type", f"{KINDS[Path(name).suffix]}; charset=utf-8")
        self.set_header("Etag", f'"{tag}"')
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
        else:
            self.finish(content)


class PageHandler(FileHandler):
    """GET /. Who doesn't ask for HTML gets JSON, as everywhere else."""

    def prepare(self) -> None:
        if self.wants_page:
            super().prepare()
        else:
            Handler.prepare(self)

    def get(self, name: str = "") -> None:
        if self.wants_page:
            super().get("index.html")
        else:
            self.refuse(404, "there is nothing here; see /api/v1/cluster")

    @property
    def wants_page(self) -> bool:
        return "text/html" in self.request.headers.get("Accept", "")


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Each file's content and a tag that changes with it."""
    found = {path.name: path.read_bytes() for path in FILES.iterdir() if path.suffix in KINDS}
    return {name: (content, hashlib.sha256(content).hexdigest()[:16]) for name, content in found.items()}


ROUTES: list[tuple[str, type[Handler]]] = [(r"/", PageHandler), (r"/static/([a-z.-]+)", FileHandler)]
