"""The Mesos that a daemon has for itself, when its master is "local".

It is begun before anything else of the daemon is imported, and boots meanwhile. The longest it takes the process from
which its executors are forked: that one comes before all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..local.warm import Warm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from ..local import LocalFleet, LocalMesos

PRINCIPAL = "ipymesos"


class PrivateMesos:
    """Boots from the moment it is made. Ends with us at last.

    Whoever may start a task on our own Mesos runs it as us, and other users of this machine reach its port. So it asks
    for a secret that nobody else has.
    """

    booted: Future[LocalMesos | LocalFleet]

    def __init__(
        self,
        agents: int = 1,
        containerizers: str = "mesos",
        images: Sequence[str] | None = None,
        warm: tuple[Sequence[str], str, str] | None = None,
    ) -> None:
        """`images` for containers under Mesos' containerizer, `warm` for executors that are processes (local.Warm)."""
        self._warm: Warm | None = None
        try:
            if warm is not None:
                self._warm = Warm(*warm)
        except OSError:
            pass  # there is no place for temporary files: Mesos will find none either, and say so
        import secrets
        from concurrent.futures import ThreadPoolExecutor

        self.principal, self.secret = PRINCIPAL, secrets.token_urlsafe(32)
        self._thread = ThreadPoolExecutor(1)
        try:
            mesos = self._made(agents, containerizers, images)
        except BaseException:
            if self._warm is not None:
                self._warm.stop()
            raise
        self.booted = self._thread.submit(mesos.start) if self._warm is None else self._begun(mesos)

    def _made(self, agents: int, containerizers: str, images: Sequence[str] | None) -> LocalMesos | LocalFleet:
        from ..local import LocalFleet, LocalMesos

        credentials = {self.principal: self.secret}
        if images is not None and agents > 1:  # agents that run images need a process each
            return LocalFleet(agents, images=images, credentials=credentials)
        return LocalMesos(
            agents, containerizers=containerizers, images=images, credentials=credentials, warm=self._warm
        )

    def _begun(self, mesos: LocalMesos) -> Future[LocalMesos | LocalFleet]:
        """Its processes started, which is done in no time; in a thread it would have to take turns with our imports."""
        from concurrent.futures import Future

        failed: Future[LocalMesos | LocalFleet] = Future()
        try:
            mesos.begin()
        except Exception as error:  # told to whoever waits for it
            failed.set_exception(error)
            return failed
        return self._thread.submit(mesos.until_up)

    def stop(self) -> None:
        """End it, or wait until it has failed; a failure leaves nothing. LocalMesosError if something stays."""
        try:
            if self.booted.exception() is None:
                self.booted.result().stop()
        finally:
            if self._warm is not None:
                self._warm.stop()
            self._thread.shutdown(wait=False)
