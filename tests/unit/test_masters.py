"""What may stand for a master."""

from __future__ import annotations

import pytest

from ipymesos.errors import ConfigError
from ipymesos.masters import FORMS, Address, ZooKeeper, parse


@pytest.mark.parametrize(
    "text, expected, shown",
    [
        ("host:5051", Address("host", 5051), "host:5051"),
        (" 10.0.0.1:5050 ", Address("10.0.0.1", 5050), "10.0.0.1:5050"),
        ("http://host:5051", Address("host", 5051), "host:5051"),
        ("http://host:5050/", Address("host", 5050), "host:5050"),
        ("[::1]:5051", Address("::1", 5051), "[::1]:5051"),
        ("http://[fe80::1%eth0]:5050/", Address("fe80::1%eth0", 5050), "[fe80::1%eth0]:5050"),
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
        ("", "'' is no host:port"),
        ("host", "the port is missing"),
        ("host:port", "'host:port' is no host:port"),
        ("host:0", "0 is no port"),
        ("host:65536", "65536 is no port"),
        ("host:5050/path", "is no host:port"),
        ("two hosts", "is no host:port"),
        ("::1:5050", "is no host:port"),
        ("https://host:5050", "TLS is not supported"),
        ("ftp://host", "ftp:// means nothing here"),
        ("http://", "'' is no host:port"),
        ("zk://h1:2181", "the path under which the masters stand is missing"),
        ("zk://h1:2181/", "the path under which the masters stand is missing"),
        ("zk:///mesos", "'' is no host:port"),
        ("zk://h1,,h2/mesos", "'' is no host:port"),
    ],
)
def test_other_forms_are_refused_with_the_allowed_ones(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    said = str(caught.value)
    assert said.startswith(f"master: {text.strip()!r} is no address of a master (") and why in said and FORMS in said


@pytest.mark.parametrize("text", ["zk://me:hush@h1:2181", "http://me:hush@h1", "zk://me:hush@h 1/m", "ftp://me:hush@h"])
def test_a_password_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "hush" not in str(caught.value) and "***@" in str(caught.value)


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(parse("zk://me:hush@h1/m"))
