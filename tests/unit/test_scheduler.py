"""Small stories, told by events and answered by actions, compared by equality."""

from dataclasses import replace

import pytest

from ipymesos.core import policy
from ipymesos.core.cluster import Setback, State
from ipymesos.core.messages import (
    Acknowledge,
    AgentsListed,
    Decline,
    Disconnected,
    EnginesDropped,
    EnginesWanted,
    Kill,
    Launch,
    ListAgents,
    Offered,
    Reconcile,
    Rescinded,
    Revive,
    ShutdownExecutor,
    StopWanted,
    Subscribed,
    Suppress,
    Teardown,
    Ticked,
    Updated,
)
from ipymesos.core.placement import LONG_REFUSAL
from ipymesos.core.resources import Resources
from ipymesos.core.retire import STOP_GRACE
from ipymesos.core.session import Agent
from ipymesos.core.specs import CONTROLLER
from tests.stories import ENGINE, IMAGE, launched, offer, running, start, status, step


def kinds(actions):
    return [type(action).__name__ for action in actions]


def test_controller_and_engines_are_launched_in_one_round_from_one_offer():
    state, actions = step(start(3), Offered((offer(),)))
    assert kinds(actions) == ["Launch"]
    controller, *engines = launched(actions)
    assert (controller.id, controller.group, len(controller.ports)) == ("controller-1", CONTROLLER, 18)
    assert [e.id for e in engines] == ["engine-e-3", "engine-e-4", "engine-e-5"]
    assert {e.executor_id for e in engines} == {"pack-e-2"}
    assert {e.controller for e in engines} == {"controller-1"}
    assert state.cluster.serial == 5
    assert step(state)[1] == [Suppress()]


def test_nothing_is_asked_for_while_disconnected():
    state, _ = step(start(1), Disconnected("gone"))
    assert step(state)[1] == []


def test_the_ports_and_resources_stand_in_the_task():
    _, actions = step(start(), Offered((offer(),)))
    (task,) = launched(actions)
    assert {p.name: p.amount or p.ranges for p in task.pieces} == {
        "cpus": 500,
        "mem": 500,
        "ports": ((31000, 31017),),
    }
    assert task.ports == tuple(range(31000, 31018))


def test_engines_wait_for_the_controllers_place():
    small = offer(cpus=2000, mem=9000, ports=())
    state, actions = step(start(2), Offered((small,)))
    assert kinds(actions) == ["Decline", "ListAgents"]
    refused = [(r.group, r.reason) for r in actions[0].refusals]
    assert refused == [(CONTROLLER, "ports")]
    assert launched(actions) == []


def test_the_controller_goes_where_it_fits_and_engines_to_both():
    big_without_ports, small = offer("o1", "a1", cpus=9000, ports=()), offer("o2", "a2", cpus=2000)
    _, actions = step(start(9), Offered((big_without_ports, small)))
    first, second = actions[:2]
    assert [t.group for t in first.tasks] == [CONTROLLER, "e"] and first.offer_ids == ("o2",)
    assert {t.agent_id for t in second.tasks} == {"a1"} and len(second.tasks) == 8


def test_engines_per_container_bounds_a_pack():
    for bound, packs in [(0, 1), (1, 4), (3, 2)]:
        _, actions = step(start(4, replace(ENGINE, per_container=bound)), Offered((offer(),)))
        engines = [t for t in launched(actions) if t.group == "e"]
        assert len(engines) == 4 and len({e.executor_id for e in engines}) == packs


def test_a_growing_set_joins_its_live_pack_and_pays_its_overhead_once():
    state, tasks = running(1)
    state, actions = step(state, EnginesWanted("e", 2), now=2.0)
    assert kinds(actions) == ["Revive"]
    state, actions = step(state, Offered((offer("o9", cpus=1000, mem=500, ports=()),)), now=3.0)
    (second,) = launched(actions)
    assert second.executor_id == tasks[1].executor_id
    assert second.executor_pieces == tasks[1].executor_pieces


def test_a_satisfied_cluster_suppresses_once_and_declines_late_offers_for_long():
    state, _ = running(1)
    assert state.session.suppressed
    state, actions = step(state, Offered((offer("late"),)), now=2.0)
    assert actions == [Decline(("late",), LONG_REFUSAL)]
    assert step(state, Ticked(), now=3.0)[1] == []


def test_a_wish_is_revived_again_only_after_a_while():
    state, actions = step(running(1)[0], EnginesWanted("e", 2), now=2.0)
    assert actions == [Revive()]
    state, actions = step(state, Ticked(), now=20.0)
    assert actions == [ListAgents()]
    assert step(state, Ticked(), now=33.0)[1] == [Revive()]


def test_a_rescinded_offer_is_forgotten():
    state = start(1)
    _, actions = step(state, Offered((offer(),)), Rescinded("o1"))
    assert actions == []


def test_the_last_engine_of_a_pack_takes_its_executor_with_it():
    state, tasks = running(1)
    state, _ = step(state, EnginesDropped("e"), now=2.0)
    _, actions = step(state, status(tasks[1], "KILLED"), now=3.0)
    assert actions == [ShutdownExecutor("pack-e-2", "a1")]


def test_a_dead_engine_is_replaced_at_once():
    state, tasks = running(2)
    dead = status(tasks[1], "FAILED", message="killed by SIGKILL")
    state, actions = step(state, dead, now=2.0)
    assert actions == [Revive()]
    assert state.cluster.exits[-1].message == "killed by SIGKILL"
    _, actions = step(state, Offered((offer("o2"),)), now=2.1)
    (again,) = launched(actions)
    assert again.id == "engine-e-5" and again.executor_id == tasks[2].executor_id


def test_a_crash_loop_slows_down():
    state, tasks = running(1)
    waits = []
    now = 10.0
    for i in range(4):
        engine = [t for t in state.cluster.tasks.values() if t.group == "e"][0]
        state, _ = step(state, status(engine, "FAILED", message="exit status 1"), now=now)
        waits.append(state.cluster.setbacks["e"].until - now)
        now = state.cluster.setbacks["e"].until + 1
        state, actions = step(state, Offered((offer(f"x{i}"),)), now=now)
        (again,) = launched(actions)
        state, _ = step(state, status(again, "RUNNING"), now=now)
    assert waits == [0.0, 0.5, 1.0, 2.0]
    engine = [t for t in state.cluster.tasks.values() if t.group == "e"][0]
    state, _ = step(state, status(engine, "FAILED"), now=now + policy.STEADY)
    assert state.cluster.setbacks["e"].failures == 1


def test_what_never_worked_is_given_up_after_three_tries_naming_the_image():
    engine = replace(ENGINE, container=IMAGE, per_container=1)
    state, actions = step(start(1, engine), Offered((offer(),)))
    now = 0.0
    for i in range(3):
        (task,) = [t for t in launched(actions) if t.group == "e"]
        failure = status(task, "FAILED", reason="REASON_CONTAINER_LAUNCH_FAILED", message="docker pull failed")
        state, _ = step(state, failure, now=now)
        now += 10
        state, actions = step(state, Offered((offer(f"x{i}"),)), now=now)
    assert launched(actions) == []
    setback = state.cluster.setbacks["e"]
    assert setback.final
    told = "an engine on host-a1 in image 'some/image:1' failed: docker pull failed (tried 3 times)"
    assert setback.message == told


def test_the_engines_of_one_pack_fail_together_and_count_once():
    state, actions = step(start(4), Offered((offer(),)))
    engines = [t for t in launched(actions) if t.group == "e"]
    state, _ = step(state, *(status(e, "FAILED", message="container ended") for e in engines))
    assert state.cluster.setbacks["e"].failures == 1


def test_a_new_wish_is_a_new_try():
    state = start(1)
    state = state.with_cluster(setbacks={"e": Setback(3, 0.0, "bad image", final=True)})
    state, _ = step(state, EnginesWanted("e", 2))
    assert state.cluster.setbacks == {}


@pytest.mark.parametrize("reason", ["REASON_INVALID_OFFERS", "REASON_AGENT_REMOVED", "REASON_SLAVE_RESTARTED"])
def test_mesos_own_faults_are_free(reason):
    state, actions = step(start(1), Offered((offer(),)))
    lost = [status(task, "LOST", reason=reason) for task in launched(actions)]
    state, _ = step(state, *lost)
    assert state.cluster.setbacks == {}
    assert kinds(step(state, Offered((offer("o2"),)))[1])[0] == "Launch"


def test_busy_ports_are_avoided_and_cost_nothing():
    state, actions = step(start(), Offered((offer(),)))
    (task,) = launched(actions)
    state, _ = step(state, status(task, "FAILED", busy_ports=(31003,), message="port 31003 is in use"))
    assert state.cluster.setbacks == {}
    _, actions = step(state, Offered((offer("o2"),)), now=1.0)
    (again,) = launched(actions)
    assert not set(again.ports) & set(task.ports)
    _, actions = step(state, Offered((offer("o3"),)), now=policy.LEFT_PORTS_REST + 1)
    (later,) = launched(actions)
    assert 31003 not in later.ports and 31000 in later.ports


def test_a_final_failure_is_not_tried_again():
    state, actions = step(start(1), Offered((offer(),)))
    engine = launched(actions)[1]
    state, _ = step(state, status(engine, "FAILED", message="Python 3.9 against 3.11", final=True))
    setback = state.cluster.setbacks["e"]
    assert setback.final and setback.message == "an engine on host-a1 failed: Python 3.9 against 3.11"


def test_shutting_an_engine_down_through_the_hub_lowers_the_wish():
    state, tasks = running(2)
    state, actions = step(state, status(tasks[1], "FINISHED"), now=2.0)
    assert state.cluster.spec.engines["e"].n == 1
    assert actions == []


def test_shutting_the_controller_down_stops_the_cluster():
    state, (controller, engine) = running(1)
    state, actions = step(state, status(controller, "FINISHED"), now=2.0)
    assert state.cluster.stopping == "the controller was shut down"
    assert Kill(engine.id, "a1", STOP_GRACE) in actions


def test_stop_kills_then_tears_down():
    state, tasks = running(1)
    state, actions = step(state, StopWanted("asked"), now=2.0)
    assert sorted(a.task_id for a in actions if isinstance(a, Kill)) == sorted(t.id for t in tasks)
    state, actions = step(state, *(status(t, "KILLED", uuid=t.id) for t in tasks), now=3.0)
    assert actions[-1] == Teardown() and state.session.torn_down
    assert kinds(actions) == ["Acknowledge"] * 2 + ["ShutdownExecutor"] * 2 + ["Teardown"]
    assert step(state, Ticked(), now=4.0)[1] == []


def test_stop_does_not_wait_for_ever():
    state, _ = step(running(1)[0], StopWanted("asked"), now=2.0)
    assert Teardown() not in step(state, Ticked(), now=12.0)[1]
    assert Teardown() in step(state, Ticked(), now=23.0)[1]


def test_an_unknown_task_is_acknowledged_and_killed():
    _, actions = step(start(), Updated("ghost", "a7", "TASK_RUNNING", uuid="u"))
    assert actions == [Acknowledge("ghost", "a7", "u"), Kill("ghost", "a7")]
    state, actions = step(start(), Updated("ghost", "a7", "TASK_FINISHED", uuid="u"))
    assert actions == [Acknowledge("ghost", "a7", "u")]
    assert step(state, Ticked())[1] == []


def test_a_new_subscription_reconciles_every_task_with_back_off_until_each_is_confirmed():
    state, tasks = running(1)
    state = step(state, Disconnected(), now=50.0)[0]
    state, actions = step(state, Subscribed("fw", "m2:5050"), now=60.0)
    assert Reconcile(tuple((t.id, "a1") for t in tasks)) in actions
    state, _ = step(state, status(tasks[0], "RUNNING", reason="REASON_RECONCILIATION"), now=60.1)
    state, actions = step(state, Ticked(), now=63.0)
    assert actions == [Reconcile(((tasks[1].id, "a1"),))]
    assert step(state, Ticked(), now=65.0)[1] == []
    state, _ = step(state, status(tasks[1], "RUNNING"), now=66.0)
    assert step(state, Ticked(), now=70.0)[1] == []
    assert Reconcile(()) in step(state, Ticked(), now=1000.0)[1]


def test_a_launch_nobody_speaks_of_is_asked_for_and_replaced_when_lost():
    state, actions = step(start(1), Offered((offer(),)))
    tasks = launched(actions)
    state, actions = step(state, Ticked(), now=16.0)
    assert Reconcile(tuple((t.id, "a1") for t in tasks)) in actions
    state, _ = step(state, *(status(t, "LOST", reason="REASON_RECONCILIATION") for t in tasks), now=17.0)
    assert policy.missing(state.cluster) == {CONTROLLER: 1, "e": 1}


def test_an_unreachable_engine_is_replaced_and_not_killed():
    state, tasks = running(2)
    state, actions = step(state, status(tasks[1], "UNREACHABLE"), now=2.0)
    assert actions == [Revive()]
    assert state.cluster.tasks[tasks[1].id].state is State.UNREACHABLE
    # It comes back before a replacement was launched: nothing more is wanted.
    state, actions = step(state, status(tasks[1], "RUNNING"), now=3.0)
    assert actions == [Suppress()]


def test_what_no_agent_could_ever_fit_fails_fast_and_says_which_is_largest():
    state, actions = step(start(1, replace(ENGINE, resources=Resources(cpus=64000, mem=1))), Offered((offer(),)))
    assert ListAgents() in actions
    agents = (Agent("a1", "big", Resources(16000, 9000), 1000), Agent("a2", "small", Resources(8000, 9000), 1000))
    state, _ = step(state, AgentsListed(agents))
    setback = state.cluster.setbacks["e"]
    assert setback.final and setback.message == (
        "no agent of this Mesos could ever fit one engine and its executor (64.1 cpus, 101 MB of memory): "
        "the largest, big, has 16 cpus in all, and 64.1 cpus are needed"
    )


def test_a_group_that_waits_after_a_failure_asks_for_nothing():
    state, tasks = running(1)
    state = state.with_cluster(setbacks={"e": Setback(5, 30.0, "crash")})
    state, actions = step(state, status(tasks[1], "FAILED", reason="REASON_AGENT_REMOVED"), now=2.0)
    assert policy.demand(state, 2.0) == {} and Revive() not in actions
    _, actions = step(state, Ticked(), now=31.0)
    assert Revive() in actions


def test_nothing_durable_changes_by_declining():
    state, _ = running(1)
    after, _ = step(state, Offered((offer("late"),)), now=2.0)
    assert after.cluster is state.cluster


def test_launch_names_every_merged_offer():
    _, actions = step(start(8), Offered((offer("o1", cpus=5000), offer("o2", cpus=5000, ports=()))))
    assert [a.offer_ids for a in actions if isinstance(a, Launch)] == [("o1", "o2")]


def test_a_changed_spec_never_joins_a_pack_that_was_launched_with_another():
    state, tasks = running(1)
    other = replace(ENGINE, container=IMAGE)
    state, _ = step(state, EnginesWanted("e", 2, other), now=2.0)
    state, actions = step(state, Offered((offer("o2"),)), now=3.0)
    (second,) = launched(actions)
    assert second.executor_id != tasks[1].executor_id
    state, _ = step(state, EnginesWanted("e", 3, other), now=4.0)
    _, actions = step(
        state.with_cluster(tasks={**state.cluster.tasks, second.id: replace(second, state=State.RUNNING)}),
        Offered((offer("o3"),)),
        now=5.0,
    )
    assert [t.executor_id for t in launched(actions)] == [second.executor_id]


def test_a_replacement_goes_to_the_living_pack_rather_than_to_a_bigger_agent():
    state, tasks = running(2)
    state, _ = step(state, status(tasks[1], "FAILED"), now=2.0)
    _, actions = step(state, Offered((offer("o2", "a9", cpus=90_000), offer("o3", "a1", cpus=1000))), now=3.0)
    assert [t.executor_id for t in launched(actions)] == [tasks[2].executor_id]


def test_a_container_that_ends_before_its_executor_speaks_gets_a_hint():
    engine = replace(ENGINE, container=IMAGE)
    state, actions = step(start(1, engine), Offered((offer(),)))
    said = "Container exited with status 1; it said: No module named ipymesos_executor"
    failed = status(launched(actions)[1], "FAILED", reason="REASON_CONTAINER_LAUNCH_FAILED", message=said)
    state, _ = step(state, failed)
    assert state.cluster.setbacks["e"].message == (
        f"an engine on host-a1 in image 'some/image:1' failed: {said}; "
        "the executor never came up: is ipymesos-executor installed in the image 'some/image:1'?"
    )


def test_each_wish_asks_for_the_agents_again_and_so_does_waiting():
    state, _ = step(start(9), Offered((offer(),)))
    state, actions = step(state, EnginesWanted("f", 99, ENGINE), Offered((offer("o2", cpus=1),)), now=1.0)
    assert ListAgents() in actions
    state, actions = step(state, EnginesWanted("f", 98), now=1.5)
    assert ListAgents() not in actions
    assert ListAgents() in step(state, Ticked(), now=3.6)[1]


def test_a_task_that_mesos_refuses_is_not_sent_again():
    state, actions = step(start(1), Offered((offer(),)))
    refused = status(launched(actions)[1], "ERROR", reason="REASON_TASK_UNAUTHORIZED", message="not allowed to use it")
    state, _ = step(state, refused)
    assert state.cluster.setbacks["e"].final
    assert state.cluster.setbacks["e"].message == "an engine on host-a1 failed: not allowed to use it"
