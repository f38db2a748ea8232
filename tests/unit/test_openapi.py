"""The description of the REST API: it is valid, and has what the handlers have."""

from __future__ import annotations

import re

from openapi_spec_validator import validate

from ipymesos.daemon.web.handler import Handler
from ipymesos.daemon.web.openapi import document
from ipymesos.daemon.web.server import ROUTES

METHODS = ("get", "put", "post", "delete")


def test_it_is_a_valid_openapi_document() -> None:
    validate(document())


def test_every_resource_and_method_is_described_and_no_other() -> None:
    handled = {
        (re.sub(r"\([^)]*\)", "{}", path), method)
        for path, handler in ROUTES
        for method in METHODS
        if path.startswith("/api/") and getattr(handler, method) is not getattr(Handler, method)
    }
    described = {
        (re.sub(r"\{\w+\}", "{}", path), method) for path, item in document()["paths"].items() for method in item
    }
    assert described == handled
