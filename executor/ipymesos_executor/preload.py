"""Import the world of an engine or of a controller once, so that what is forked from us need not."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

ENGINE = [
    "ipymesos_executor.engine",
    "ipymesos_executor.unregister",
    "ipyparallel.serialize.canning",
    "ipykernel.debugger",
    "ipykernel.zmqshell",
    "IPython.core.completerlib",
    "IPython.core.oinspect",
    "IPython.core.magics.all",
    "IPython.extensions.storemagic",
    "tornado.platform.asyncio",
    "zmq.devices",
    "zmq.eventloop.zmqstream",
    "sqlite3",
    "unicodedata",
    "bdb",
]
CONTROLLER = ["ipymesos_executor.controller", "ipymesos_executor.unregister", "ipymesos_executor.lastword"]
OPTIONAL = {"IPython.core.magics.all", "IPython.extensions.storemagic"}  # not in every version

# A library that starts its threads at import can't be forked from: an engine would have the locks without the threads.
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class CannotPreload(Exception):
    """Nothing can be forked from this process."""


def load(kind: str, names: Iterable[str]) -> list[str]:
    """Import everything; `kind` is "engines" or "controller", `names` are what the user adds.

    Returns warnings: a name that can't be imported is no failure, since whoever needs it will say so. Raises
    CannotPreload for what is needed, and for a module that starts threads.
    """
    gc.disable()  # no collection meanwhile: the objects stay together, and the forked processes share their pages
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    no_debugpy = "debugpy" not in sys.modules
    if no_debugpy:
        sys.modules["debugpy"] = None  # type: ignore[assignment]  # 0.14 s in every engine, for nothing we use
    warnings = []
    try:
        with _nothing_installed():
            for name in ENGINE if kind == "engines" else CONTROLLER:
                try:
                    _import(name)
                except ImportError as error:
                    if name not in OPTIONAL:
                        raise CannotPreload(f"{name} can't be imported here: {error}") from error
        for name in names:
            if name == "numpy" and _threads_wanted():
                continue  # its BLAS would start them; each engine imports it for itself instead
            try:
                _import(name)
            except CannotPreload:
                raise
            except Exception as error:  # any module's import may raise anything, and none of it is our end
                warnings.append(f"preload: {name} can't be imported here: {error!r}")
    finally:
        if no_debugpy:
            del sys.modules["debugpy"]  # user code may still import it
    return warnings


def freeze() -> None:
    """Let no collection touch what there is: the forked processes share its pages."""
    gc.collect()
    gc.freeze()


@contextmanager
def _nothing_installed() -> Iterator[None]:
    """Importing ipyparallel asks all that is installed for launchers, four times, for the text of a help."""
    real = metadata.entry_points
    meanwhile = True

    def entry_points(**wanted: Any) -> Any:  # modules that are imported meanwhile keep this one
        return () if meanwhile else real(**wanted)

    metadata.entry_points = entry_points
    try:
        yield
    finally:
        metadata.entry_points = real
        meanwhile = False


def _threads_wanted() -> bool:
    return any(os.environ.get(name, "1") != "1" for name in ONE_THREAD)


def _import(name: str) -> None:
    importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise CannotPreload(
            f"preload: importing {name} starts threads, so engines can't be forked after it; take it out of preload"
        )
