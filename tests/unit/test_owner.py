"""The owner of the state: the order of a turn, and what happens when a part of it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from ipymesos.core.cluster import Cluster
from ipymesos.core.messages import (
    Acknowledge,
    Action,
    Disconnected,
    EnginesWanted,
    Kill,
    Launch,
    Offered,
    Rescinded,
    StopWanted,
    Subscribed,
    Teardown,
    Ticked,
    Updated,
)
from ipymesos.core.resources import Offer, Piece, Resources
from ipymesos.core.session import Everything
from ipymesos.core.specs import ControllerSpec, EngineSpec, Spec
from ipymesos.daemon import ticks
from ipymesos.daemon.owner import CREDIT, SHARE, Owner
from ipymesos.errors import MesosError, StoreError

OFFER = Offer(
    "o1",
    "agent",
    "host",
    "10.0.0.1",
    (
        Piece("cpus", 8000),
        Piece("mem", 16384),
        Piece("ports", ranges=((31000, 31099),)),
    ),
)
ENGINE = EngineSpec(Resources(1000, 512))


class Shell:
    """Writes down what the owner asks of its shells, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        self.errors: list[Exception] = []
        self.full = False
        spec = Spec(ControllerSpec(Resources(500, 256)))
        self.owner = Owner(Everything(Cluster("test", spec)), self.save, self.send, self.errors.append)

    def save(self, cluster: Cluster) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.done.append(("save", cluster))

    def send(self, actions: Sequence[Action], cluster: Cluster) -> None:
        if actions:
            self.done.append(("send", list(actions)))

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.done]

    def sent(self, kind: type) -> list[Any]:
        return [a for word, actions in self.done if word == "send" for a in actions if isinstance(a, kind)]


def with_shell(test: Callable[[Shell], Any]) -> None:
    async def run() -> None:
        await test(Shell())

    asyncio.run(run())


def test_a_launch_is_saved_before_it_is_sent() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        shell.done.clear()
        shell.owner.take(Offered((OFFER,)))
        assert shell.words == ["save", "send"]
        (launch,) = shell.sent(Launch)
        saved = shell.done[0][1]
        assert set(saved.tasks) == {task.id for task in launch.tasks} != set()

    with_shell(test)


def test_an_update_is_acknowledged_after_it_is_saved() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        shell.owner.take(Offered((OFFER,)))
        shell.done.clear()
        shell.owner.take(Updated("controller-1", "agent", "TASK_RUNNING", uuid="u"))
        assert shell.words == ["save", "send"] and shell.sent(Acknowledge) == [
            Acknowledge("controller-1", "agent", "u")
        ]
        assert shell.done[0][1].tasks["controller-1"].state.value == "running"

    with_shell(test)


def test_what_cannot_be_saved_is_not_sent_until_it_can() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        shell.done.clear()
        shell.full = True
        version = shell.owner.version
        shell.owner.take(Offered((OFFER,)))
        assert shell.owner.trouble == "the disk is full" and shell.owner.version > version
        shell.owner.take(EnginesWanted("a", 1, ENGINE))
        assert shell.done == [] and not shell.errors
        shell.full = False
        shell.owner.take(Ticked())  # nothing was lost meanwhile
        assert shell.words == ["save", "send"] and not shell.owner.trouble
        (launch,) = shell.sent(Launch)
        assert [task.group for task in launch.tasks] == ["controller", "a"]

    with_shell(test)


def test_an_offer_that_was_withdrawn_meanwhile_is_not_used() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        shell.full = True
        shell.owner.take(Offered((OFFER,)))
        shell.owner.take(Rescinded("o1"))
        shell.full = False
        shell.owner.take(Ticked())
        assert not shell.sent(Launch)

    with_shell(test)


def test_an_update_that_cannot_be_saved_is_not_acknowledged_until_it_is() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        shell.owner.take(Offered((OFFER,)))
        shell.full = True
        shell.owner.take(Updated("controller-1", "agent", "TASK_RUNNING", uuid="u"))
        assert not shell.sent(Acknowledge)
        shell.full = False
        shell.owner.take(Ticked())
        assert shell.sent(Acknowledge) == [Acknowledge("controller-1", "agent", "u")]

    with_shell(test)


def test_a_stop_needs_no_room() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        shell.owner.take(Offered((OFFER,)))
        shell.full = True
        shell.owner.take(StopWanted("enough"))
        assert [kill.task_id for kill in shell.sent(Kill)] == ["controller-1"]
        shell.owner.take(Updated("controller-1", "agent", "TASK_KILLED", uuid="u"))
        shell.owner.take(Ticked())
        assert shell.sent(Teardown) and not shell.errors

    with_shell(test)


def test_nothing_is_saved_when_nothing_changes() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        shell.done.clear()
        for _ in range(3):
            shell.owner.take(Ticked())
        assert "save" not in shell.words

    with_shell(test)


def test_events_that_come_together_get_one_turn() -> None:
    async def test(shell: Shell) -> None:
        turns: list[int] = []
        shell.owner.watch(lambda before, after: turns.append(len(after.cluster.spec.engines)))
        for event in (Subscribed("f", "m"), EnginesWanted("a", 1, ENGINE), EnginesWanted("b", 1, ENGINE)):
            shell.owner.post(event)
        assert turns == []
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert turns == [2]

    with_shell(test)


def test_a_flood_of_events_leaves_time_for_the_rest() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(Subscribed("f", "m"))
        turns, alone = [0], time.monotonic()
        shell.owner.watch(lambda before, after: turns.append(turns[-1] + 1) or time.sleep(0.01))
        while turns[-1] < 12:
            shell.owner.post(Ticked())
            await asyncio.sleep(0)
        assert time.monotonic() - alone >= 11 * 0.01 / SHARE - CREDIT  # what they wanted, had they had no pauses: 0.12
        shell.owner.take(Ticked())  # who waits for what it does does not wait
        assert turns[-1] == 13

    with_shell(test)


def test_a_fault_in_the_core_ends_it_loudly() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(EnginesWanted("a", 1, None))  # a first wish needs a spec
        assert isinstance(shell.errors[0], ValueError) and shell.done == []

    with_shell(test)


def test_a_stop_without_any_master_is_soon_over() -> None:
    async def test(shell: Shell) -> None:
        shell.owner.take(StopWanted("now"))
        assert await ticks.pass_time(shell.owner, asyncio.Event()) is None

    with_shell(test)


def test_a_stop_whose_master_has_gone_is_given_up() -> None:
    async def test(shell: Shell) -> None:
        for event in (Subscribed("f", "m"), Offered((OFFER,)), Disconnected(), StopWanted("now")):
            shell.owner.take(event)
        error = await ticks.pass_time(shell.owner, asyncio.Event(), patience=0.1)
        assert isinstance(error, MesosError) and "the tasks may still run" in str(error)

    with_shell(test)


def test_who_waits_for_news_is_let_go_at_the_end() -> None:
    async def test(shell: Shell) -> None:
        waiting = asyncio.ensure_future(shell.owner.changed(shell.owner.version, 60))
        await asyncio.sleep(0)
        await shell.owner.let_go()
        assert waiting.done()
        await shell.owner.changed(shell.owner.version, 60)

    with_shell(test)
