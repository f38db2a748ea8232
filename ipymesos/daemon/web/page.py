"""The page that Mesos' own list of frameworks links to: the status for people, after a login with the token.

A browser can't send the Authorization header of a link, so the login gives it a cookie, which lets it see this page
and nothing else: what changes the cluster takes the token itself.
"""

from __future__ import annotations

import hmac
from html import escape

from .. import words
from .handler import Handler

REFRESH = 3  # seconds
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>{head}
<style>body {{ font: 15px sans-serif; margin: 2em }} pre {{ font: 13px monospace }} .error {{ color: #b00 }}</style>
</head><body><h1>{title}</h1>
{body}
</body></html>
"""

LOGIN = """<p>The token is in the daemon file <code>security/ipymesos*.json</code> of the cluster's profile.</p>
{error}<form method="post" action="/"><input type="password" name="token" autofocus autocomplete="off" size="50">
<button>Show the cluster</button></form>"""


class PageHandler(Handler):
    """GET / shows the status, or the login; POST / is the login. Who doesn't ask for HTML gets JSON, as elsewhere."""

    takes = "application/x-www-form-urlencoded"

    def prepare(self) -> None:
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "same-origin")  # with no-referrer the login would come from origin "null"
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        if "text/html" not in self.request.headers.get("Accept", ""):
            super().prepare()
        else:
            self.check_way()

    @property
    def cookie(self) -> tuple[str, str]:
        """Its name has the port, since browsers share cookies between the ports of a host; it isn't the token."""
        port = self.request.host.rpartition(":")[2]
        name = f"ipymesos-{port}" if port.isdigit() else "ipymesos"
        return name, self.gate.sign("status page")

    def get(self) -> None:
        if "text/html" not in self.request.headers.get("Accept", ""):
            self.refuse(404, "there is nothing here; see /api/v1/cluster")
            return
        name, value = self.cookie
        if not hmac.compare_digest(self.get_cookie(name, "").encode(), value.encode()):
            self.login(401)
            return
        self.welcome()
        if self._finished:
            return
        refresh = f'<meta http-equiv="refresh" content="{REFRESH}">'
        status = self.service.status()
        self.page(
            200, f"{status['name']} {status['cluster_id']}", f"<pre>{escape(words.status(status))}</pre>", refresh
        )

    def post(self) -> None:
        if not self.gate.is_token(self.get_body_argument("token", "")):
            if seconds := self.gate.strangers.wait():
                self.slow_down(seconds)
            else:
                self.telling = True
                self.login(401, '<p class="error">That is not the token.</p>')
            return
        self.welcome()
        if not self._finished:
            secure = self.request.protocol == "https"
            self.set_cookie(*self.cookie, httponly=True, samesite="Strict", path="/", secure=secure)
            self.redirect("/", status=303)

    def login(self, code: int, error: str = "") -> None:
        self.page(code, "ipymesos", LOGIN.format(error=error))

    def page(self, code: int, title: str, body: str, head: str = "") -> None:
        self.set_status(code)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(HTML.format(title=escape(title.strip()), body=body, head=head))
