"""What may stand for a master."""

from __future__ import annotations

import pytest

from ipymesos.errors import ConfigError
from ipymesos.masters import Address, ZooKeeper, parse


@pytest.mark.parametrize(
    "text, expected, shown",
    [
        ("host:5051", Address("host", 5051), "host:5051"),
        (" 10.0.0.1 ", Address("10.0.0.1", 5050), "10.0.0.1:5050"),
        ("http://host:5051", Address("host", 5051), "host:5051"),
        ("http://host/", Address("host", 5050), "host:5050"),
        ("[::1]:5051", Address("::1", 5051), "[::1]:5051"),
        ("http://[fe80::1%eth0]/", Address("fe80::1%eth0", 5050), "[fe80::1%eth0]:5050"),
        ("zk://h1/mesos", ZooKeeper((Address("h1", 2181),), "/mesos"), "zk://h1:2181/mesos"),
        (
            "zk://h1:2182,[::1]:2183/a/b/",
            ZooKeeper((Address("h1", 2182), Address("::1", 2183)), "/a/b"),
            "zk://h1:2182,[::1]:2183/a/b",
        ),
        ("zk://me:pass:w@h1/m", ZooKeeper((Address("h1", 2181),), "/m", "me:pass:w"), "zk://h1:2181/m"),
    ],
)
def test_the_allowed_forms(text: str, expected: object, shown: str) -> None:
    assert parse(text) == expected
    assert str(parse(text)) == shown


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "'' is no HOST:PORT"),
        ("host:port", "'host:port' is no HOST:PORT"),
        ("host:0", "0 is no port"),
        ("host:65536", "65536 is no port"),
        ("host:5050/path", "is no HOST:PORT"),
        ("two hosts", "is no HOST:PORT"),
        ("::1:5050", "is no HOST:PORT"),
        ("https://host:5050", "TLS is not supported"),
        ("ftp://host", "ftp:// means nothing here"),
        ("http://", "'' is no HOST:PORT"),
        ("zk://h1:2181", "the PATH where the masters meet is missing"),
        ("zk://h1:2181/", "the PATH where the masters meet is missing"),
        ("zk:///mesos", "'' is no HOST:PORT"),
        ("zk://h1,,h2/mesos", "'' is no HOST:PORT"),
    ],
)
def test_other_forms_are_refused_with_the_allowed_ones(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    said = str(caught.value)
    assert said.startswith(f"master {text.strip()!r}") and why in said and "Allowed: HOST, HOST:PORT, http://" in said


@pytest.mark.parametrize("text", ["zk://me:hush@h1:2181", "http://me:hush@h1", "zk://me:hush@h 1/m", "ftp://me:hush@h"])
def test_a_password_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "hush" not in str(caught.value) and "***@" in str(caught.value)


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(parse("zk://me:hush@h1/m"))
