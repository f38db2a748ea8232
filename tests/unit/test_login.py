"""How a browser gets in, what its cookie opens, and what the dashboard's files are allowed to do."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest

from ipymesos.daemon.web.gate import Bucket
from ipymesos.daemon.web.logins import CODE_LASTS, LOGIN_LASTS, MOST_CODES, MOST_LOGINS, Logins
from ipymesos.daemon.web.page import FILES
from tests.live import JSON, TOKEN, Live

PAGE = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    running = Live(tmp_path)
    yield running
    running.end()


def login(live: Live, content: object, **headers: str) -> tuple[int, dict[str, Any], http.client.HTTPMessage]:
    return live.ask("POST", "/api/v1/login", json.dumps(content).encode(), {**JSON, "Origin": live.url, **headers})


def logged_in(live: Live) -> dict[str, str]:
    """The headers that the page sends from then on."""
    status, answer, headers = login(live, {"token": TOKEN})
    assert status == 200
    cookie = headers["Set-Cookie"].partition(";")[0]
    return {"Cookie": cookie, "X-IPyMesos-Word": answer["word"], "Origin": live.url, "Sec-Fetch-Site": "same-origin"}


def get(live: Live, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(*live.address, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def test_the_token_is_shown_once(live: Live) -> None:
    status, answer, headers = login(live, {"token": TOKEN})
    cookie = SimpleCookie(headers["Set-Cookie"])
    (name,) = cookie
    assert status == 200 and name == f"ipymesos-{live.address[1]}"
    assert cookie[name]["httponly"] and cookie[name]["samesite"] == "Strict" and cookie[name]["path"] == "/"
    assert not cookie[name]["secure"] and not cookie[name]["expires"]
    assert TOKEN not in headers["Set-Cookie"] and answer["word"] not in headers["Set-Cookie"]
    assert login(live, {"token": TOKEN})[1]["word"] != answer["word"]


@pytest.mark.parametrize("content", [{"token": "wrong"}, {"token": ""}, {}, {"code": ""}, {"code": "guess"}])
def test_nobody_else_gets_a_cookie(live: Live, content: object) -> None:
    status, answer, headers = login(live, content)
    assert status == 401 and list(answer) == ["error"] and "Set-Cookie" not in headers


@pytest.mark.parametrize("content", [{"token": 1}, {"code": []}, {"password": "x"}, []])
def test_a_login_that_makes_no_sense(live: Live, content: object) -> None:
    assert login(live, content)[0] == 400


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
def test_no_other_page_logs_anybody_in_or_out(live: Live, origin: str) -> None:
    assert login(live, {"token": TOKEN}, Origin=origin)[0] == 403
    assert login(live, {"token": TOKEN}, **{"Content-Type": "text/plain"})[0] == 415
    known = logged_in(live)
    assert live.ask("DELETE", "/api/v1/login", headers={**known, "Origin": origin})[0] == 403
    assert live.ask("GET", "/api/v1/login", headers=known)[1] == {"logged_in": True}


def test_a_code_is_good_once(live: Live) -> None:
    code = live.daemon().login_code()
    assert login(live, {"code": code})[0] == 200
    status, answer, _ = login(live, {"code": code})
    assert status == 401 and "has been used" in answer["error"]


def test_the_cookie_shows_everything_and_changes_nothing_without_its_word(live: Live) -> None:
    known = logged_in(live)
    cookie = {"Cookie": known["Cookie"]}
    assert live.ask("GET", "/api/v1/cluster", headers=cookie)[0] == 200
    assert live.ask("GET", "/api/v1/cluster", headers={"Cookie": known["Cookie"][:-1] + "x"})[0] == 401
    assert live.ask("GET", "/api/v1/cluster", headers={**cookie, "Authorization": "Bearer x"})[0] == 401
    body = b'{"n": 2}'
    for lacking in ("Cookie", "X-IPyMesos-Word", "Origin"):
        headers = {**JSON, **{name: value for name, value in known.items() if name != lacking}}
        assert live.ask("PUT", "/api/v1/engines/a", body, headers)[0] == 401, lacking
    assert live.ask("PUT", "/api/v1/engines/a", body, {**JSON, **known, "X-IPyMesos-Word": "x"})[0] == 401
    assert live.ask("PUT", "/api/v1/engines/a", body, {**JSON, **logged_in(live), "Cookie": known["Cookie"]})[0] == 401
    assert not live.saved
    assert live.ask("PUT", "/api/v1/engines/a", body, {**JSON, **known})[1]["wanted"] == 2


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_the_cookie_is_for_our_own_page(live: Live, site: str) -> None:
    """Another port of this host is the same site to browsers, and may be somebody else's."""
    known = logged_in(live)
    for path in ("/api/v1/cluster", "/api/v1/stream"):
        assert live.ask("GET", path, headers={"Cookie": known["Cookie"], "Sec-Fetch-Site": site})[0] == 401


def test_after_a_logout_the_cookie_opens_nothing(live: Live) -> None:
    known, other = logged_in(live), logged_in(live)
    status, _, headers = live.ask("DELETE", "/api/v1/login", headers=known)
    assert status == 200 and '=""' in headers["Set-Cookie"]
    assert live.ask("GET", "/api/v1/cluster", headers=known)[0] == 401
    assert live.ask("GET", "/api/v1/login", headers=known)[1] == {"logged_in": False}
    assert live.ask("GET", "/api/v1/cluster", headers=other)[0] == 200


def test_logins_and_codes_end_by_themselves() -> None:
    now = 0.0
    logins = Logins(lambda: now)
    cookie, word = logins.begin()
    code = logins.code()
    now += CODE_LASTS
    assert not logins.redeem(code)
    now += LOGIN_LASTS - CODE_LASTS - 1
    assert logins.may_write(cookie, word), "and each request renews it"
    now += LOGIN_LASTS - 1
    assert logins.may_read(cookie)
    now += LOGIN_LASTS
    assert not logins.may_read(cookie) and not logins.may_write(cookie, word)


def test_there_are_so_many_logins_and_codes_only() -> None:
    logins = Logins(lambda: 0.0)
    cookies = [logins.begin()[0] for _ in range(MOST_LOGINS + 1)]
    assert [logins.may_read(cookie) for cookie in cookies] == [False] + [True] * MOST_LOGINS
    codes = [logins.code() for _ in range(MOST_CODES + 1)]
    assert [logins.redeem(code) for code in codes] == [False] + [True] * MOST_CODES


# --- the files


def test_the_page_shows_nothing_by_itself(live: Live) -> None:
    live.daemon().want_engines("some-set", 2)
    status, page, headers = get(live, "/", Accept=PAGE)
    assert status == 200 and b'type="password"' in page and b"some-set" not in page and TOKEN.encode() not in page
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    own = {f"{kind}-src": "'self'" for kind in ("script", "style", "connect", "img")}
    assert policy == {
        "default-src": "'none'", **own, "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }  # fmt: skip
    assert headers["X-Frame-Options"] == "DENY" and headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff" and "Server" not in headers


def test_all_files_are_there_and_only_these(live: Live) -> None:
    page = (FILES / "index.html").read_text()
    for path in re.findall(r'(?:src|href)="(/[^"]*)"', page):
        status, content, headers = get(live, path)
        assert (status, content) == (200, (FILES / Path(path).name).read_bytes())
        assert get(live, path, **{"If-None-Match": headers["Etag"]})[0] == 304
    for path in ("/static/page.py", "/static/..%2fpage.py", "/static/../page.py", "/static/", "/static/none.js"):
        assert get(live, path, Authorization=f"Bearer {TOKEN}")[0] == 404


def test_nothing_of_it_comes_from_elsewhere_or_is_inline() -> None:
    for path in FILES.iterdir():
        content = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|innerHTML|insertAdjacentHTML|eval\(", content), path
    page = (FILES / "index.html").read_text()
    assert not re.search(r"\son[a-z]+=|style=|<style|<script(?! type=\"module\" src)", page)


def test_files_are_for_this_host_and_not_without_bound(live: Live) -> None:
    assert get(live, "/", Accept=PAGE, Host="evil.example")[0] == 403
    known = logged_in(live)
    live.web.gate.anybody = Bucket(rate=1e-3, burst=2)
    assert [get(live, "/", Accept=PAGE)[0] for _ in range(3)] == [200, 200, 429]
    assert get(live, "/", Accept=PAGE, Cookie=known["Cookie"])[0] == 200
