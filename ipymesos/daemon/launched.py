"""The daemon under a launcher: nobody sits before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets import TraitError

from ..config import MesosOptions
from ..errors import ConfigError
from ..paths import Paths
from .app import App
from .output import log_to_streams
from .private import PrivateMesos
from .start import Start


def run(profile_dir: Path, cluster_id: str, wish: Mapping[str, Any] | None, private: PrivateMesos | None) -> None:
    """See __main__."""
    log_to_streams(False, True)
    try:
        start = None
        if wish is not None:
            start = Start(MesosOptions.from_options(wish["options"]), wish["n"], tuple(wish["controller_args"]))
        App(Paths(profile_dir, cluster_id), start, launched=True, private=private).run()
    except TraitError as error:
        raise ConfigError(str(error)) from error
