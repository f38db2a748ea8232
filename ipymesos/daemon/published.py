"""The files by which others find the cluster: ipyparallel's two connection files, and the daemon file's "ready"."""

from __future__ import annotations

import logging

from ..connection import Connection
from ..core.session import Everything
from ..daemonfile import OwnDaemonFile
from ..errors import StoreError
from ..paths import Paths

log = logging.getLogger("ipymesos.daemon")


class Published:
    """Keeps them up to date; what can't be written, as on a full disk, is in the next turn."""

    def __init__(self, paths: Paths, file: OwnDaemonFile, connection: Connection) -> None:
        self._paths, self._file, self._connection = paths, file, connection
        self._controller = ""  # the task for which the connection files were written
        self.registered = False  # in this run
        self.trouble = ""  # why something can't be written at the moment

    def update(self, state: Everything) -> None:
        """To be called after each turn."""
        controller, spec = state.cluster.serving, state.cluster.spec.controller
        try:
            if controller is not None and controller.id != self._controller:
                self._connection.write_files(self._paths, controller, spec.args if spec else ())
                self._controller = controller.id
            if state.session.connected and not self.registered:
                self._file.tell(ready=True)
                self.registered = True
        except (OSError, StoreError) as error:
            if not self.trouble:
                log.error("%s", error)
            self.trouble = str(error)
        else:
            self.trouble = ""
