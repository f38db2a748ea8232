"""What holds for every test."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `docker` fail where Docker is missing, unless IPYMESOS_SKIP_DOCKER says to leave them out."""
    if os.environ.get("IPYMESOS_SKIP_DOCKER"):
        for item in items:
            if item.get_closest_marker("docker"):
                item.add_marker(pytest.mark.skip(reason="IPYMESOS_SKIP_DOCKER is set"))
