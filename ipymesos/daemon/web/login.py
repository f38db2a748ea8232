"""How a browser gets in: the token, or a code made with it, once; a cookie from then on."""

from __future__ import annotations

from ...errors import ConfigError
from .handler import Handler


class LoginHandler(Handler):
    """GET says whether this browser is logged in, POST logs it in, DELETE out."""

    def prepare(self) -> None:
        if self.request.method == "DELETE":
            super().prepare()
        elif self.check_way():
            if seconds := self.gate.anybody.wait():
                self.slow_down(seconds)
            else:
                self.check_shape()

    def get(self) -> None:
        self.answer({"logged_in": self.logged_in()})

    def post(self) -> None:
        body = self.body("token", "code")
        token, code = body.get("token", ""), body.get("code", "")
        if not isinstance(token, str) or not isinstance(code, str):
            raise ConfigError("token, code: a text is allowed")
        if not self.gate.is_token(token) and not self.gate.logins.redeem(code):
            why = "this link has been used, or is older than two minutes: make a new one, or paste the token"
            self.turn_away(401, why if code else "that is not the token")
            return
        self.telling = True
        cookie, word = self.gate.logins.begin()
        secure = self.request.protocol == "https"
        self.set_cookie(self.cookie_name, cookie, httponly=True, samesite="Strict", path="/", secure=secure)
        self.answer({"word": word})

    def delete(self) -> None:
        self.gate.logins.end(self.get_cookie(self.cookie_name, "") or "")
        self.clear_cookie(self.cookie_name, path="/")
        self.answer({"logged_in": False})


class CodeHandler(Handler):
    """POST makes a code with which a browser can log in, once and soon."""

    def post(self) -> None:
        self.body()
        self.answer({"code": self.gate.logins.code()})


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/api/v1/login", LoginHandler),
    (r"/api/v1/login/code", CodeHandler),
]
