"""What a check has found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import one_line

OK, WARN, FAIL, SKIP = "OK", "WARN", "FAIL", "SKIP"


@dataclass(frozen=True)
class Finding:
    """`check` is its name, which stays; `advice` says what to do; `exit_code` is the one `start` would end with."""

    check: str
    verdict: str
    said: str
    advice: str = ""
    exit_code: int = 0

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def ok(check: str, said: str) -> Finding:
    return Finding(check, OK, said)


def warn(check: str, said: str, advice: str) -> Finding:
    return Finding(check, WARN, said, advice)


def fail(check: str, said: str, advice: str, exit_code: int) -> Finding:
    return Finding(check, FAIL, said, advice, exit_code)


def skip(check: str, said: str) -> Finding:
    return Finding(check, SKIP, said)


def exit_code(findings: Iterable[Finding]) -> int:
    """Of the first one that failed; 0 if none has."""
    return next((found.exit_code for found in findings if found.verdict == FAIL), 0)


def summary(findings: Iterable[Finding]) -> str:
    """One line: how many of each."""
    verdicts = [found.verdict for found in findings]
    failed, warned = verdicts.count(FAIL), verdicts.count(WARN)
    if failed:
        return f"{failed} of {len(verdicts)} checks failed: `start` would not work"
    noted = f", {warned} with a warning" if warned else ""
    return f"all is well: {verdicts.count(OK)} checks passed{noted}"


def line(found: Finding) -> str:
    """For people; the advice is on a line of its own."""
    text = f"{found.verdict:4}  {found.check:14} {one_line(found.said)}"
    return f"{text}\n{'':21}-> {found.advice}" if found.advice else text
