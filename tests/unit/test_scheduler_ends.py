"""Stories of ends: scaling down, drains, agents that fail, deaths that nobody tells the hub."""

from dataclasses import replace

from ipymesos.core.cluster import State, Trouble
from ipymesos.core.explain import explain
from ipymesos.core.messages import (
    AcceptInverse,
    Acknowledge,
    AgentLost,
    AskLoad,
    Decline,
    EnginesWanted,
    EngineUnwanted,
    InverseOffered,
    InverseRescinded,
    Kill,
    LoadTold,
    LoadWanted,
    Offered,
    QueuesTold,
    Revive,
    TellGone,
    Ticked,
)
from ipymesos.core.resources import Drain, InverseOffer
from ipymesos.core.session import Load, Queues, Usage
from ipymesos.core.specs import CONTROLLER
from tests.stories import CONTROLLER_SPEC, ENGINE, launched, offer, running, start, status, step

WINDOW = InverseOffer("i1", "a1", unavailable_from=1000.0, until=2000.0)


def kills(actions):
    return [action for action in actions if isinstance(action, Kill)]


def test_idle_engines_retire_first():
    state, (_, first, second, third) = running(3)
    state, actions = step(state, EnginesWanted("e", 1), now=5.0)
    assert actions == [AskLoad("pack-e-2", "a1")]
    load = ((first.id, 0.0), (second.id, 7.0), (third.id, 2.0))
    state, actions = step(state, LoadTold("pack-e-2", "a1", load), now=5.1)
    assert [kill.task_id for kill in kills(actions)] == [first.id, third.id]
    assert list(state.cluster.tasks) == ["controller-1", first.id, second.id, third.id]
    assert [t.id for t in state.cluster.tasks.values() if t.doomed] == [first.id, third.id]


def test_among_equals_the_youngest_retires_and_is_killed_until_it_has_ended():
    state, (_, first, second) = running(2)
    state, _ = step(state, EnginesWanted("e", 1), now=5.0)
    state, actions = step(state, LoadTold("pack-e-2", "a1", ((first.id, 0.0), (second.id, 0.0))), now=5.1)
    assert actions == [Kill(second.id, "a1")]
    assert step(state, Ticked(), now=6.0)[1] == []
    state, actions = step(state, Ticked(), now=16.0)
    assert actions == [Kill(second.id, "a1")]
    state, actions = step(state, status(second, "KILLED", uuid="u"), now=17.0)
    assert actions == [Acknowledge(second.id, "a1", "u")]
    assert state.cluster.exits[-1].asked and not state.cluster.setbacks


def test_who_does_not_tell_its_load_is_not_waited_for_long():
    state, (_, first, second) = running(2)
    state, _ = step(state, EnginesWanted("e", 1), now=5.0)
    state, actions = step(state, Ticked(), now=5.5)
    assert actions == []
    state, actions = step(state, Ticked(), now=6.0)
    assert actions == [Kill(second.id, "a1")]


def test_an_old_answer_is_not_believed():
    state, (_, first, second) = running(2)
    state, _ = step(state, LoadTold("pack-e-2", "a1", ((first.id, 0.0), (second.id, 0.0))), now=5.0)
    assert step(state, EnginesWanted("e", 1), now=8.0)[1] == [AskLoad("pack-e-2", "a1")]


def test_engines_that_nobody_can_use_yet_go_without_a_question():
    state, actions = step(start(3), Offered((offer(),)))
    _, first, second, third = launched(actions)
    state, _ = step(state, status(first, "RUNNING"), now=1.0)
    state, actions = step(state, EnginesWanted("e", 1), now=2.0)
    assert {kill.task_id for kill in kills(actions)} == {second.id, third.id}


def test_all_of_a_set_end_without_a_question():
    state, tasks = running(2)
    _, actions = step(state, EnginesWanted("e", 0), now=2.0)
    assert {kill.task_id for kill in kills(actions)} == {t.id for t in tasks[1:]}


def test_the_load_is_asked_for_whoever_wants_to_know():
    state, _ = running(2)
    state, actions = step(state, LoadWanted(), now=5.0)
    assert actions == [AskLoad("controller-1", "a1"), AskLoad("pack-e-2", "a1")]
    assert step(state, Ticked(), now=5.1)[1] == []


def test_what_the_executors_answer_is_kept_until_the_next_answer():
    state, (_, engine, _) = running(2)
    told = LoadTold("pack-e-2", "a1", ((engine.id, 3.0),), ((engine.id, Usage(70, 1.5)),))
    state, actions = step(state, told, now=6.0)
    assert state.session.loads["pack-e-2"] == Load(6.0, {engine.id: 3.0}, {engine.id: Usage(70, 1.5)})
    state, _ = step(state, QueuesTold("controller-1", "a1", 7, 120, ((0, (1, 2)),)), now=6.5)
    assert state.session.queues == Queues("controller-1", 6.5, 7, 120, {0: (1, 2)}) and actions == []


def test_an_engine_that_is_to_be_replaced_ends_and_another_one_comes():
    state, (_, first, second) = running(2)
    state, actions = step(state, EngineUnwanted(first.id, replace=True), now=5.0)
    assert kills(actions) == [Kill(first.id, "a1")] and Revive() in actions
    assert state.cluster.spec.engines["e"].n == 2
    assert step(state, EngineUnwanted(first.id, replace=True), now=5.1)[0].cluster == state.cluster
    state, actions = step(state, Offered((offer("o2"),)), now=6.0)
    assert len(launched(actions)) == 1
    state, actions = step(state, status(first, "KILLED"), now=7.0)
    assert state.cluster.exits[-1].asked and not state.cluster.setbacks and second.id in state.cluster.tasks


def test_an_engine_that_is_to_retire_lowers_the_wish_once():
    state, (controller, first, second) = running(2)
    state, actions = step(state, EngineUnwanted(first.id), now=5.0)
    assert kills(actions) == [Kill(first.id, "a1")] and state.cluster.spec.engines["e"].n == 1
    for again in (EngineUnwanted(first.id), EngineUnwanted("nobody"), EngineUnwanted(controller.id)):
        assert step(state, again, now=5.1)[0].cluster == state.cluster
    state, actions = step(state, status(first, "FINISHED"), now=6.0)
    assert state.cluster.spec.engines["e"].n == 1 and not kills(actions) and second.id in state.cluster.tasks


def test_one_that_counts_no_more_lowers_nothing():
    state, (_, first, second) = running(2)
    state, _ = step(state, status(first, "UNREACHABLE"), now=5.0)
    state, actions = step(state, EngineUnwanted(first.id), now=5.5)
    assert state.cluster.spec.engines["e"].n == 2 and not kills(actions)
    state, actions = step(state, status(first, "RUNNING"), now=6.0)
    assert kills(actions) == [Kill(first.id, "a1")]


def test_engines_on_a_draining_agent_are_replaced_elsewhere_first():
    state, (controller, engine) = running(1)
    state, actions = step(state, InverseOffered((WINDOW,)), now=5.0)
    assert AcceptInverse(("i1",)) in actions and not kills(actions)
    assert state.cluster.draining == {"a1": Drain(1000.0, 2000.0, "i1")}
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=6.0)
    new_controller, new_engine = launched(actions)
    assert (new_controller.agent_id, new_engine.agent_id, new_engine.controller) == ("a2", "a2", new_controller.id)
    state, actions = step(state, status(new_controller, "RUNNING"), now=7.0)
    assert not kills(actions), "nothing ends before its replacement can be used"
    state, actions = step(state, status(new_engine, "RUNNING"), now=8.0)
    assert kills(actions) == [Kill(engine.id, "a1", 992.0)], "it has until its agent goes away"
    state, actions = step(state, status(engine, "KILLED"), now=9.0)
    assert kills(actions) == [Kill(controller.id, "a1")]


def test_what_could_not_be_replaced_ends_just_before_its_agent_goes_away():
    state, (controller, engine) = running(1)
    state, _ = step(state, InverseOffered((WINDOW,)), now=5.0)
    assert not kills(step(state, Ticked(), now=900.0)[1])
    _, actions = step(state, Ticked(), now=996.0)
    assert kills(actions) == [Kill(engine.id, "a1")]


def test_a_drain_that_is_called_off_is_forgotten():
    state, _ = running(1)
    state, _ = step(state, InverseOffered((WINDOW,)), now=5.0)
    state, _ = step(state, InverseRescinded("i1"), now=6.0)
    assert state.cluster.draining == {} and not state.session.inverse_offers


def test_an_offer_tells_of_a_drain_and_of_its_end():
    state, _ = running(1)
    state, actions = step(state, Offered((offer("o2", unavailable_from=500.0),)), now=5.0)
    assert state.cluster.draining == {"a1": Drain(500.0)} and not launched(actions)
    state, _ = step(state, Offered((offer("o3"),)), now=6.0)
    assert state.cluster.draining == {}


def test_an_agent_on_which_launches_fail_is_left_alone_while_there_are_others():
    state, _ = running(0)
    state, _ = step(state, EnginesWanted("e", 1, ENGINE), now=2.0)
    for i in (1, 2):
        state, actions = step(state, Offered((offer(f"o{i}"),)), now=3.0 + i)
        (engine,) = launched(actions)
        state, _ = step(state, status(engine, "FAILED", message="no"), now=3.5 + i)
    state, _ = step(state, Offered((offer("o4"),)), now=10.0)
    assert state.cluster.tasks["engine-e-7"].agent_id == "a1", "the only agent is tried on"
    _, actions = step(running_with_trouble(state), Offered((offer("o5", "a1"), offer("o6", "a2"))), now=11.0)
    assert [task.agent_id for task in launched(actions)] == ["a2"]
    (declined,) = [action for action in actions if isinstance(action, Decline)]
    assert declined.offer_ids == ("o5",)


def running_with_trouble(state):
    """One engine more is wanted, and another agent has been seen."""
    wanted = replace(state.cluster.spec.engines["e"], n=2)
    spec = replace(state.cluster.spec, engines={"e": wanted})
    return state.with_cluster(spec=spec, setbacks={}).with_session(seen=frozenset({"a1", "a2"}))


def test_a_launch_that_works_clears_its_agent():
    state, _ = running(0)
    state, _ = step(state, EnginesWanted("e", 1, ENGINE), now=2.0)
    state, actions = step(state, Offered((offer("o2"),)), now=3.0)
    (engine,) = launched(actions)
    state, _ = step(state, status(engine, "FAILED", message="no"), now=4.0)
    assert state.cluster.troubles["a1"].failures == 1
    state, actions = step(state, Offered((offer("o3"),)), now=6.0)
    (engine,) = launched(actions)
    state, _ = step(state, status(engine, "RUNNING"), now=7.0)
    assert state.cluster.troubles == {}


def test_the_hub_is_told_of_engines_whose_whole_container_has_gone():
    state, (controller, engine) = running(1)
    state, _ = step(state, status(engine, "RUNNING", engine_id=7), now=2.0)
    lost = status(engine, "FAILED", reason="REASON_EXECUTOR_TERMINATED", message="Container exited")
    state, actions = step(state, lost, now=3.0)
    assert TellGone(controller.id, controller.executor_id, "a1", ((7, "Container exited"),)) in actions
    assert not state.session.gone


def test_a_hub_is_told_of_engines_that_it_awaits():
    state, (controller, first, second) = running(2)
    ids = [status(engine, "RUNNING", engine_id=n) for n, engine in enumerate((first, second))]
    state, _ = step(state, *ids, now=2.0)
    state, _ = step(state, status(controller, "FAILED", message="killed by SIGKILL"), now=3.0)
    state, actions = step(state, Offered((offer("o2"),)), now=4.0)
    (successor,) = launched(actions)
    lost = status(second, "FAILED", reason="REASON_EXECUTOR_TERMINATED", message="Container exited")
    state, actions = step(state, lost, now=5.0)
    assert not [a for a in actions if isinstance(a, TellGone)]
    _, actions = step(state, status(successor, "RUNNING"), now=6.0)
    assert TellGone(successor.id, successor.executor_id, "a1", ((1, "Container exited"),)) in actions


def test_a_hub_is_told_only_of_engines_that_it_knew():
    """The next hub may give the same ids to others."""
    state, (controller, engine) = running(1)
    state, _ = step(state, status(engine, "RUNNING", engine_id=0), now=2.0)
    lost = status(engine, "FAILED", reason="REASON_EXECUTOR_TERMINATED", message="Container exited")
    state, _ = step(state, status(controller, "FAILED", message="killed by SIGKILL"), lost, now=3.0)
    state, actions = step(state, Offered((offer("o2"),)), now=4.0)
    successor, *_ = launched(actions)
    _, actions = step(state, status(successor, "RUNNING"), now=5.0)
    assert not [a for a in actions if isinstance(a, TellGone)]


def test_nothing_is_remembered_of_an_executor_that_has_ended():
    state, (_, engine) = running(1)
    load = LoadTold(engine.executor_id, "a1", ((engine.id, 0.0),))
    state, _ = step(state, load, now=2.0)
    assert set(state.session.loads) == {engine.executor_id}
    state, _ = step(state, status(engine, "FAILED"), now=3.0)
    state, _ = step(state, load, now=3.1)
    assert not state.session.loads and not state.session.load_asked


def test_a_lost_agent_is_none_of_those_that_work():
    state, _ = running(0)
    assert "a1" in state.session.seen
    state, _ = step(state.with_cluster(troubles={"a1": Trouble(1, 9.0)}), AgentLost("a1"), now=3.0)
    assert not state.session.seen and not state.cluster.troubles


def test_an_engine_whose_own_executor_has_told_its_end_is_not_told_again():
    state, (_, engine) = running(1)
    state, _ = step(state, status(engine, "RUNNING", engine_id=7), now=2.0)
    _, actions = step(state, status(engine, "FAILED", message="killed by SIGKILL"), now=3.0)
    assert not [a for a in actions if isinstance(a, TellGone)]


def test_a_controller_is_never_retired_for_one_that_only_starts():
    state, (controller, _) = running(1)
    state, _ = step(state, InverseOffered((WINDOW,)), now=5.0)
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=6.0)
    successor = launched(actions)[0]
    assert state.cluster.serving.id == controller.id and state.cluster.controller.id == successor.id
    assert explain(state, 7.0).summary == "everything that is wanted runs"
    state, _ = step(state, status(successor, "RUNNING"), now=8.0)
    assert state.cluster.serving.id == successor.id
    assert state.cluster.tasks[controller.id].state is State.RUNNING
    assert state.cluster.spec.controller == CONTROLLER_SPEC and state.cluster.group(CONTROLLER)
