"""What holds for every test."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `docker` fail where Docker is missing, unless IPYMESOS_SKIP_DOCKER says to leave them out."""
    if os.environ.get("IPYMESOS_SKIP_DOCKER"):
        for item in items:
            if item.get_closest_marker("docker"):
                item.add_marker(pytest.mark.skip(reason="IPYMESOS_SKIP_DOCKER is set"))


@pytest.fixture(scope="session", autouse=True)
def temporary() -> Iterator[None]:
    """Whatever the tests, or programs they start, put into the system's temporary folder goes at the end.

    At the very end: IPython's shells close their histories there when the interpreter exits.
    """
    folder = tempfile.mkdtemp(prefix="ipymesos-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    yield
    tempfile.tempdir = before
    if before is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before
