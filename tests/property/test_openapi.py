"""A running daemon's REST API, asked whatever its own description allows, and what it doesn't (schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from ipymesos.daemon.web.gate import Bucket
from ipymesos.daemon.web.openapi import document
from tests.live import TOKEN, Live

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
# A stop ends what the other requests need, and a stream doesn't end; they have tests of their own.
schema = schemathesis.openapi.from_dict(document()).exclude(path=["/api/v1/stop", "/api/v1/stream"])


@schema.auth()
class Token:
    """How schemathesis gets in, unless it tries to come without."""

    def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
        return TOKEN

    def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    running = Live(tmp_path_factory.mktemp("live"))
    gate = running.web.gate
    gate.strangers = gate.users = gate.anybody = Bucket(1e9, 10**9)
    yield running
    running.end()


@schema.parametrize()
@settings(max_examples=20, deadline=None)
def test_answers_are_as_described(case: schemathesis.Case, live: Live) -> None:
    if case.query and isinstance(case.query.get("timeout"), (int, float)):
        case.query["timeout"] = min(case.query["timeout"], 0.01)  # else it waits, as it should
    case.call_and_validate(base_url=live.url, checks=CHECKS)
