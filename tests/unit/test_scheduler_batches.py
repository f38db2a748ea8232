"""Many events at once, and many offers: the same as one after the other, and no more calls than are needed."""

from functools import reduce

from ipymesos.core.cluster import Cluster
from ipymesos.core.messages import Decline, Disconnected, EnginesWanted, Event, Launch, Subscribed, Ticked, Updated
from ipymesos.core.resources import Resources
from ipymesos.core.scheduler import observe, observe_all, plan, record
from ipymesos.core.session import Everything
from ipymesos.core.specs import CONTROLLER, ControllerSpec, EngineSet, EngineSpec, Spec
from tests.fake_mesos import FakeAgent, FakeMesos

ENGINE = EngineSpec(Resources(cpus=1000, mem=100), pack=Resources(cpus=100, mem=50))
SPEC = Spec(ControllerSpec(Resources(cpus=500, mem=100)), {"e": EngineSet(6, ENGINE)})


def launched(agents: int = 4) -> tuple[Everything, list[Launch | Decline]]:
    world = FakeMesos(FakeAgent(f"a{i}", Resources(3500, 4000), ((31000, 31099),)) for i in range(agents))
    world.allocate()
    state = observe(Everything(Cluster("test", SPEC)), Subscribed("f", "m"), 0.0)
    state = observe_all(state, world.inbox, 1.0)
    actions = plan(state, 1.0)
    return record(state, actions, 1.0), [a for a in actions if isinstance(a, (Launch, Decline))]


def test_events_together_are_events_one_after_the_other() -> None:
    state, _ = launched()
    tasks = list(state.cluster.tasks.values())
    running: list[Event] = [Updated(t.id, t.agent_id, "TASK_RUNNING", uuid=f"r{t.id}", engine_id=1) for t in tasks]
    ended: list[Event] = [
        Updated(t.id, t.agent_id, "TASK_FAILED", reason="REASON_EXECUTOR_TERMINATED", uuid=f"f{t.id}")
        for t in tasks
        if t.group == CONTROLLER or t.id.endswith("4")
    ]
    events = [*running, Ticked(), *ended, EnginesWanted("e", 2), *ended, Disconnected("gone")]
    for n in range(len(events) + 1):
        before = state
        together = observe_all(state, events[:n], 2.0)
        assert together == reduce(lambda s, event: observe(s, event, 2.0), events[:n], state)
        assert {t.id for t in together.cluster.group("e")} == {
            n for n, t in together.cluster.tasks.items() if t.group == "e"
        }
        assert state == before


def test_nothing_new_is_the_very_same_state() -> None:
    state, _ = launched()
    assert observe_all(state, [], 2.0) is state
    assert observe_all(state, [Ticked()], 2.0).cluster is state.cluster


def test_all_that_is_left_is_declined_by_one_call() -> None:
    state, answers = launched(agents=20)
    launches = [answer for answer in answers if isinstance(answer, Launch)]
    (declined,) = [answer for answer in answers if isinstance(answer, Decline)]
    assert len(state.cluster.tasks) == 7
    assert len(declined.offer_ids) == 20 - len(launches)
    assert not state.session.offers
