"""What is offered, and what can never be: stories of events and actions."""

from dataclasses import replace

from ipymesos.core.messages import AgentsListed, Disconnected, EnginesWanted, Revive, Subscribed
from ipymesos.core.resources import Resources
from ipymesos.core.session import Agent
from ipymesos.core.specs import CONTROLLER
from tests.stories import ENGINE, running, start, status, step

TINY = AgentsListed((Agent("a9", "h9", Resources(100, 100), 100),))


def test_a_subscription_without_offers_is_revived_only_by_a_wish():
    state, _ = running(1)
    state, _ = step(state, Disconnected("gone"), now=5.0)
    state, actions = step(state, Subscribed("f1", "m", suppressed=True), now=6.0)
    assert state.session.suppressed and [type(a).__name__ for a in actions] == ["Reconcile"], "it is suppressed already"
    _, actions = step(state, EnginesWanted("e", 2), now=7.0)
    assert Revive() in actions


def test_a_wish_that_came_while_the_subscription_was_under_way_is_revived():
    state, _ = running(1)
    state, _ = step(state, Disconnected("gone"), now=5.0)
    state, _ = step(state, EnginesWanted("e", 2), now=5.5)
    _, actions = step(state, Subscribed("f1", "m", suppressed=True), now=6.0)
    assert Revive() in actions


def test_what_has_run_before_waits_for_an_agent_that_is_away():
    state, tasks = running(1)
    state, _ = step(state, status(tasks[0], "LOST", reason="REASON_SLAVE_REMOVED"), now=5.0)
    assert step(state, TINY, now=9.0)[0].cluster.setbacks == {}


def test_what_never_ran_and_never_can_is_given_up():
    state, _ = step(start(1), TINY, now=9.0)
    assert set(state.cluster.setbacks) == {CONTROLLER, "e"} and state.cluster.setbacks["e"].final


def test_an_engine_set_with_other_options_has_never_run():
    state, _ = running(1)
    bigger = replace(ENGINE, resources=Resources(99000, 1))
    state, _ = step(state, EnginesWanted("e", 1, bigger), now=5.0)
    assert state.cluster.proven == {CONTROLLER}
    state, _ = step(state, EnginesWanted("e", 2), now=6.0)
    state, _ = step(state, TINY, now=7.0)
    assert state.cluster.setbacks["e"].final and "could ever fit" in state.cluster.setbacks["e"].message
