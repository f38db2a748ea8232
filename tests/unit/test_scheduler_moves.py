"""Stories of controllers that die: a new one is launched, and the engines that live on move to it."""

import json

from ipymesos.connection import Connection
from ipymesos.core.explain import explain
from ipymesos.core.messages import Kill, Move, Offered, Revive, ShutdownExecutor, Subscribed, TellGone, Ticked
from ipymesos.core.policy import usable
from tests.stories import launched, offer, running, status, step


def moves(actions):
    return [action for action in actions if isinstance(action, Move)]


def without_controller(n=2):
    """Engines that live on after their controller's death, at time 2."""
    state, (controller, *engines) = running(n)
    state, actions = step(state, status(controller, "FAILED", message="exit status 1"), now=2.0)
    return state, actions, controller, engines


def test_the_engines_of_a_dead_controller_live_on_and_move_to_the_new_one():
    state, actions, controller, engines = without_controller()
    assert actions == [ShutdownExecutor(controller.id, "a1"), Revive()]
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    (successor,) = launched(actions)
    assert not set(successor.ports) & set(controller.ports) or successor.agent_id != controller.agent_id
    state, actions = step(state, status(successor, "STAGING"), now=3.1)
    assert moves(actions) == [Move("pack-e-2", "a1", tuple(e.id for e in engines), successor.id)]
    state, actions = step(state, status(successor, "RUNNING"), now=4.0)
    assert not moves(actions) and not usable(state.cluster, "e")
    here = [status(e, "RUNNING", controller=successor.id, engine_id=i) for i, e in enumerate(engines)]
    state, actions = step(state, *here, now=4.5)
    assert len(usable(state.cluster, "e")) == 2
    assert not any(isinstance(a, Kill) for a in actions)
    assert explain(state, 5.0).summary == "everything that is wanted runs"


def test_the_new_controller_on_the_same_agent_has_other_ports():
    state, _, controller, _ = without_controller()
    _, actions = step(state, Offered((offer("o2", "a1"),)), now=3.0)
    (successor,) = launched(actions)
    assert not set(successor.ports) & set(controller.ports)


def test_ports_are_not_used_again_while_engines_look_for_the_controller_that_had_them():
    state, _, controller, (engine, *_) = without_controller()
    state, actions = step(state, Offered((offer("o2", "a9"),)), now=10_000.0)  # the same machine, another agent
    (successor,) = launched(actions)
    assert not set(successor.ports) & set(controller.ports)
    state, _ = step(state, status(successor, "FAILED"), now=10_001.0)
    state, actions = step(state, Offered((offer("o3", "a9"),)), now=10_030.0)
    (third,) = launched(actions)
    assert not set(third.ports) & {*controller.ports, *successor.ports}
    here = [status(task, "RUNNING", controller=third.id) for task in state.cluster.group("e")]
    state, _ = step(state, *here, now=10_031.0)
    state, _ = step(state, status(third, "FAILED"), now=10_032.0)
    state, actions = step(state, Offered((offer("o4", "a9"),)), now=20_000.0)
    assert launched(actions)[0].ports == controller.ports, "nobody looks for the first one any more"


def test_ports_do_not_run_out_however_often_a_controller_ends():
    state, (controller, engine) = running(1)
    few = ((31000, 31039),)
    for turn in range(20):
        now = 100.0 * (turn + 1)
        state, _ = step(state, status(controller, "FAILED"), now=now)
        state, actions = step(state, Offered((offer(f"o{turn}", ports=few),)), now=now + 90)
        (controller,) = launched(actions)
        here = status(engine, "RUNNING", controller=controller.id)
        state, _ = step(state, status(controller, "RUNNING"), here, now=now + 91)
    assert len(state.cluster.former) <= 1


def test_a_move_is_repeated_until_it_is_confirmed():
    state, _, _, engines = without_controller(1)
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    (successor,) = launched(actions)
    state, _ = step(state, Ticked(), now=3.1)
    assert not moves(step(state, Ticked(), now=5.0)[1])
    state, actions = step(state, Ticked(), now=6.2)
    assert moves(actions) == [Move("pack-e-2", "a1", (engines[0].id,), successor.id)]


def test_only_the_newest_controller_is_moved_to():
    state, _, _, engines = without_controller(1)
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    (second,) = launched(actions)
    state, _ = step(state, status(second, "FAILED", message="ports in use", busy_ports=(31000,)), now=3.5)
    state, actions = step(state, Offered((offer("o3", "a2"),)), now=3.6)
    (third,) = launched(actions)
    _, actions = step(state, Ticked(), now=3.7)
    assert moves(actions) == [Move("pack-e-2", "a1", (engines[0].id,), third.id)]


def test_engines_on_their_way_to_register_are_told_as_well_and_what_is_staged_later():
    state, (controller, engine) = running(1)
    state, _ = step(state, status(engine, "STARTING"), now=1.5)
    state, _ = step(state, status(controller, "FAILED"), now=2.0)
    state, _ = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    assert moves(step(state, Ticked(), now=3.1)[1])
    state = state.with_cluster(tasks={**state.cluster.tasks, engine.id: engine})
    state, _ = step(state, status(engine, "STAGING"), now=3.2)
    assert not moves(step(state, Ticked(), now=9.0)[1])


def test_after_a_new_subscription_the_engines_are_told_again():
    state, _, _, _ = without_controller(1)
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    state, _ = step(state, Ticked(), now=3.1)
    _, actions = step(state, Subscribed("fw", "m2"), now=3.2)
    assert moves(actions)


def test_a_controller_that_comes_back_from_a_partition_gives_way_when_its_engines_have_left():
    state, (old, engine) = running(1)
    state, _ = step(state, status(old, "UNREACHABLE"), now=2.0)
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    (new,) = launched(actions)
    state, _ = step(state, status(new, "RUNNING"), now=4.0)
    state, actions = step(state, status(old, "RUNNING"), now=5.0)
    assert not any(isinstance(a, Kill) for a in actions)
    state, actions = step(state, status(engine, "RUNNING", controller=new.id), now=6.0)
    assert [a for a in actions if isinstance(a, Kill)] == [Kill(old.id, "a1")]


def test_a_controller_that_comes_back_before_its_successor_runs_stays():
    state, (old, engine) = running(1)
    state, _ = step(state, status(old, "UNREACHABLE"), now=2.0)
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    (new,) = launched(actions)
    state, actions = step(state, status(old, "RUNNING"), now=3.5)
    assert [a for a in actions if isinstance(a, Kill)] == [Kill(new.id, "a2")]
    assert state.cluster.controller.id == old.id
    assert len(usable(state.cluster, "e")) == 1


def test_a_new_controller_hears_of_the_engines_that_will_not_come():
    state, _, _, (engine, other) = without_controller()
    state, _ = step(state, status(engine, "RUNNING", engine_id=4), status(other, "RUNNING", engine_id=5), now=2.5)
    state, actions = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    (successor,) = launched(actions)
    assert json.loads(Connection.new().payload(successor, state.cluster))["awaited"] == [4, 5]
    state, actions = step(state, status(engine, "FAILED", message="killed by SIGKILL"), now=3.5)
    assert not [a for a in actions if isinstance(a, TellGone)], "it can't be told yet"
    _, actions = step(state, status(successor, "RUNNING"), now=4.0)
    assert TellGone(successor.id, successor.id, "a2", ((4, "killed by SIGKILL"),)) in actions


def test_who_waits_for_a_controller_is_told_so():
    state, _, _, _ = without_controller()
    state, _ = step(state, Offered((offer("o2", "a2"),)), now=3.0)
    assert "2 engines live on and wait for the new controller, which is launching" in explain(state, 3.5).text
