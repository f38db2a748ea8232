"""What a person reads who waits: each situation as a whole, word by word."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ipymesos.core.cluster import Setback, Task, Trouble
from ipymesos.core.explain import WHY, GroupExplanation, explain
from ipymesos.core.messages import (
    AgentsHidden,
    AgentsListed,
    Disconnected,
    EnginesWanted,
    Event,
    InverseOffered,
    Offered,
    StopWanted,
    Subscribed,
    Updated,
)
from ipymesos.core.offers import FUNNEL
from ipymesos.core.reasons import span
from ipymesos.core.resources import InverseOffer, Resources
from ipymesos.core.session import Agent, Everything
from tests.stories import CONTROLLER_SPEC, ENGINE, IMAGE, launched, offer, running, start, status, step, with_attributes

WAITS = (
    "engine set e: 0 of 4 running, waiting since 00:00:03 UTC (17 s)",
    "  waiting for the controller to be launched",
)


def agent(name: str = "a1", cpus: int = 4000, mem: int = 8000, ports: int = 1000, **more: object) -> Agent:
    return Agent(name, f"host-{name}", Resources(cpus, mem), ports, **more)  # type: ignore[arg-type]


def listed(*agents: Agent) -> AgentsListed:
    return AgentsListed(agents)


def after(state: Everything, *events: Event, now: float = 3.0) -> Everything:
    return step(state, *events, now=now)[0]


def reads(state: Everything, *lines: str, now: float = 20.0) -> None:
    assert explain(state, now).text.splitlines() == list(lines)


def fails(**more: object) -> Everything:
    """A controller that runs, and engines that end in this way, three times at most; ten seconds pass each time."""
    state, actions = step(start(2, replace(ENGINE, container=IMAGE)), Offered((offer(),)))
    state = after(state, status(launched(actions)[0], "RUNNING"), now=1.0)
    for i in range(3):
        engines = [task for task in launched(actions) if task.group == "e"]
        state = after(state, *(status(task, "FAILED", **more) for task in engines), now=2.0 + 10 * i)
        state, actions = step(state, Offered((offer(f"x{i}"),)), now=12.0 + 10 * i)
    return state


def test_nothing_to_explain() -> None:
    state, _ = running(2)
    assert explain(state, 1.0).as_dict() == {
        "summary": "everything that is wanted runs",
        "text": "everything that is wanted runs",
        "groups": [],
    }


def test_no_offer_yet() -> None:
    reads(
        after(start(4)),
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  Mesos has made no offer yet (no agents, or all that they have is in use)",
        *WAITS,
    )


def test_no_agents() -> None:
    state = after(start(4), listed())
    reads(
        state,
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  this Mesos has no agents",
        "  what could help: start agents, or name another `master`",
        *WAITS,
    )
    away = after(start(4), listed(agent(active=False), agent("a2", active=False)))
    assert explain(away, 20.0).groups[0].message == (
        "this Mesos has no agents: all 2 that it knows are away or drained"
    )
    hidden = explain(after(start(4), AgentsHidden("HTTP 403 Forbidden")), 20.0)
    assert hidden.groups[0].message == (
        "Mesos has made no offer yet, and does not tell which agents it has (HTTP 403 Forbidden)"
    )


def test_all_agents_are_busy() -> None:
    used = (agent(used=Resources(3800, 100)), agent("a2", used=Resources(4000, 8000)), agent("a3", cpus=100))
    reads(
        after(start(4), listed(*used)),
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  all 2 agents that are big enough are in use: 0.2 cpus are free on host-a1, and 0.51 cpus are needed",
        "  offers since then: 0",
        "  what could help: wait until others give it back, or ask for less `controller_cpus`",
        *WAITS,
    )


def test_a_quota_holds_back_what_is_free() -> None:
    reads(
        after(start(4), listed(agent(used=Resources(3000)), agent("a2", used=Resources(1000, 100)))),
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  Mesos makes no offers, though host-a2 has 3 cpus and 7900 MB of memory free",
        "  offers since then: 0",
        "  what could help: a quota of the `role`, or of other roles, may hold it back, or another framework has been"
        " offered it",
        *WAITS,
    )


def test_agents_that_keep_it_for_other_roles() -> None:
    state = after(start(4), listed(agent(cpus=100, kept=Resources(4000)), agent("a2", cpus=50)))
    controller, engines = explain(state, 20.0).groups
    assert controller.message == (
        "no agent of this Mesos could ever fit the controller (0.51 cpus, 532 MB of memory and 18 ports): the largest,"
        " host-a2, has 0.05 cpus in all, and 0.51 cpus are needed"
    )
    assert engines.refused["role"] == 1
    state = after(start(4), listed(agent(cpus=100, kept=Resources(4000))))
    controller, _ = explain(state, 20.0).groups
    assert controller.message.endswith(
        "the largest, host-a1, has 0.1 cpus for our role and 4 cpus for others, and 0.51 cpus are needed"
    )
    assert controller.hint == "a `role` for which the agents keep it"


def test_attributes_that_no_offer_has() -> None:
    spec = replace(CONTROLLER_SPEC, constraints=(("rack", "right"),))
    left = Offered((with_attributes(offer(), rack="left"),))
    reads(
        after(start(4, controller=spec), left),
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  no offer has the attributes that are wanted: the best, from host-a1, has rack=left, and rack=right is"
        " needed",
        "  offers since then: 1; refused agents: attributes 1",
        "  what could help: other `controller_attributes`, or agents that have them",
        *WAITS,
    )
    reads(
        after(start(4, controller=spec), left, listed(agent(attributes=(("rack", "left"),)))),
        "connected to m:5050",
        "controller: 0 of 1 running, given up",
        "  no agent of this Mesos could ever fit the controller (0.51 cpus, 532 MB of memory and 18 ports): none has"
        " rack=right; the nearest, host-a1, has rack=left",
        "  what could help: other `controller_attributes`, or agents that have them",
        *WAITS,
        "  all agents together could hold 3 of these engines, if nothing else ran there",
    )


def test_too_few_ports() -> None:
    reads(
        after(start(4), Offered((offer(ports=((31000, 31004),)),))),
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  too few ports: the best offer, from host-a1, has 5 ports, and 18 ports are needed",
        "  offers since then: 1; refused agents: ports 1",
        "  what could help: agents offer what their --resources says, as in ports:[31000-32000]; with"
        " broadcast_scheduler_depth = 0 the controller needs three ports less",
        *WAITS,
    )


def test_an_image_that_is_missing() -> None:
    pull = "Failed to run 'docker pull some/image:1': exited with status 1; stderr='manifest unknown'"
    reads(
        fails(reason="REASON_CONTAINER_LAUNCH_FAILED", message=pull),
        "connected to m:5050",
        "engine set e: 0 of 2 running, given up after 3 tries",
        f"  an engine on host-a1 in image 'some/image:1' failed: {pull} (tried 3 times)",
        "  what could help: is `image` right, and may that agent pull it? `docker pull` there says more",
        now=40.0,
    )


def test_a_container_that_ends_at_once_and_what_it_wrote() -> None:
    words = "Traceback (most recent call last):\n  File ...\nModuleNotFoundError: No module named 'ipymesos_executor'"
    reads(
        fails(reason="REASON_EXECUTOR_TERMINATED", message="Container exited with status 1", words=words),
        "connected to m:5050",
        "engine set e: 0 of 2 running, given up after 3 tries",
        "  an engine on host-a1 in image 'some/image:1' failed: Container exited with status 1; the executor never came"
        " up: is ipymesos-executor installed in the image 'some/image:1'? (tried 3 times)",
        "  it wrote last:",
        "    | Traceback (most recent call last):",
        "    |   File ...",
        "    | ModuleNotFoundError: No module named 'ipymesos_executor'",
        now=40.0,
    )


def test_a_python_that_does_not_fit() -> None:
    said = "this container has Python 3.9, the cluster was started with 3.11"
    state, actions = step(start(1), Offered((offer(),)))
    controller, engine = launched(actions)
    state = after(state, status(controller, "RUNNING"), status(engine, "FAILED", message=said, final=True))
    reads(
        state,
        "connected to m:5050",
        "engine set e: 0 of 1 running, given up",
        f"  an engine on host-a1 failed: {said}",
    )


def test_back_off_says_when_it_is_tried_again() -> None:
    state = after(start(1).with_cluster(setbacks={"controller": Setback(2, 33.0, "crashed", words="one\ntwo")}))
    (group, _) = explain(state, 20.0).groups
    assert (group.why, group.failures, group.next_try) == ("back_off", 2, 33.0)
    assert group.message == "crashed; next try in 13 s, at 00:00:33 UTC"
    assert group.words == "one\ntwo"
    assert explain(state, 32.5).groups[0].message == "crashed; next try at once"


def test_agents_about_to_be_taken_away() -> None:
    reads(
        after(start(4), Offered((offer(unavailable_from=900.0),))),
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  every agent that would do is about to be taken away for maintenance, host-a1 for example",
        "  offers since then: 1; refused agents: draining 1",
        *WAITS,
    )


def test_what_runs_on_an_agent_about_to_be_taken_away_is_replaced_first() -> None:
    state, _ = running(2)
    state = after(state, InverseOffered((InverseOffer("i", "a1", 900.0),)), Offered((offer("o2", "a2", cpus=100),)))
    controller, engines = explain(state, 20.0).groups
    assert (controller.running, controller.wanted) == (1, 1)
    assert controller.message == (
        "it runs on an agent that is about to be taken away, and no other place is found: too few cpus: the best offer,"
        " from host-a2, has 0.1 cpus, and 0.51 cpus are needed"
    )
    assert engines.message == (
        "2 engines on agents that are about to be taken away, and no other place is found: too few cpus: the best"
        " offer, from host-a2, has 0.1 cpus, and 1.1 cpus are needed"
    )


def test_an_agent_on_which_launches_fail() -> None:
    state = start(4).with_cluster(troubles={"a1": Trouble(2, 30.0)}).with_session(seen=frozenset({"a9"}))
    reads(
        after(state, Offered((offer(),))),
        "connected to m:5050",
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (17 s)",
        "  every agent that would do is left alone for a while: host-a1 has 2 failed launches, and the next try is in"
        " 10 s",
        "  offers since then: 1; refused agents: failing 1",
        *WAITS,
    )


LOST = (
    "no Mesos master answers since 00:00:20 UTC (12 s): it closed the connection;"
    " what runs goes on running, and nothing else can begin"
)


def test_the_master_is_lost() -> None:
    gone = Disconnected("it closed the connection")
    reads(after(running(2)[0], gone, now=20.0), LOST, now=32.0)
    state = after(after(start(4), Offered((offer(cpus=100),))), gone, now=20.0)
    reads(
        state,
        LOST,
        "controller: 0 of 1 running, waiting since 00:00:03 UTC (29 s)",
        "engine set e: 0 of 4 running, waiting since 00:00:03 UTC (29 s)",
        now=32.0,
    )
    assert explain(state, 32.0).summary == LOST
    assert explain(after(state, Subscribed("fw", "m2:5050"), now=33.0), 34.0).text.startswith("connected to m2:5050\n")


def test_no_master_yet() -> None:
    state = after(Everything(start(1).cluster))
    assert explain(state, 20.0).summary == "waiting for the Mesos master"
    resumed = after(Everything(running(1)[0].cluster))
    assert explain(resumed, 20.0).text == (
        "waiting for the Mesos master; what runs goes on running, and nothing else can begin"
    )


def coming(*words: str) -> tuple[Everything, list[Task]]:
    """Launched at 3; then each task has the state of `words`, the last of them for all that follow."""
    state, actions = step(start(4, replace(ENGINE, container=IMAGE)), Offered((offer(),)), now=3.0)
    tasks = launched(actions)
    told: list[Updated] = []
    for i, task in enumerate(tasks):
        if words:
            told.append(status(task, words[min(i, len(words) - 1)]))
    return after(state, *told, now=4.0), tasks


@pytest.mark.parametrize(
    "words, controller, engines",
    [
        ((), "launching on host-a1 for 2 s", "4 launching on host-a1 for 2 s"),
        (
            ("STAGING",),
            "staging on host-a1 for 2 s (the agent makes its container)",
            "4 staging on host-a1 for 2 s (an agent that has not got the image 'some/image:1' pulls it now)",
        ),
        (
            ("STARTING",),
            "starting on host-a1 for 2 s (it does not listen on its ports yet)",
            "4 starting on host-a1 for 2 s (not registered with the controller yet)",
        ),
        (
            ("STARTING", "RUNNING"),
            "starting on host-a1 for 2 s (it does not listen on its ports yet)",
            "4 engines wait for the controller, which is starting on host-a1 for 2 s"
            " (it does not listen on its ports yet)",
        ),
    ],
)
def test_launched_and_not_usable_yet(words: tuple[str, ...], controller: str, engines: str) -> None:
    state, _ = coming(*words)
    groups = explain(state, 5.0).groups
    assert [group.message for group in groups] == [controller, engines]
    assert {group.why for group in groups} == {"coming"}
    assert [(group.coming, group.offers) for group in groups] == [(1, 1), (4, 1)]


def test_a_launch_of_which_mesos_says_nothing() -> None:
    state, _ = coming()
    assert explain(state, 9.0).groups[0].message == ("launching on host-a1 for 6 s (the agent makes its container)")


def test_the_controller_has_died_and_another_one_comes() -> None:
    state, (controller, *_) = running(2)
    state = after(state, status(controller, "LOST"))
    dead, engines = explain(state, 4.0).groups
    assert (engines.why, engines.message) == ("moving", "2 engines live on and wait for a new controller")
    state = after(state, Offered((offer("o5", "a2"),)), now=5.0)
    reads(
        state,
        "connected to m:5050",
        "controller: 0 of 1 running, 1 coming, waiting since 00:00:03 UTC (4 s)",
        "  launching on host-a2 for 2 s",
        "engine set e: 0 of 2 running, 2 coming, waiting since 00:00:03 UTC (4 s)",
        "  2 engines live on and wait for the new controller, which is launching on host-a2 for 2 s",
        now=7.0,
    )


def test_some_run_some_come_and_some_have_no_place() -> None:
    state, _ = running(3)
    state = after(state, EnginesWanted("e", 9), now=2.0)
    offers = (offer("o2", "a2", cpus=2100, ports=()), offer("o3", "a3", cpus=300))
    state = after(state, Offered(offers), listed(agent(), agent("a3", cpus=2000)))
    reads(
        state,
        "connected to m:5050",
        "engine set e: 3 of 9 running, 2 coming, waiting since 00:00:02 UTC (61 s)",
        "  4 of 9 missing: too few cpus: the best offer, from host-a3, has 0.3 cpus, and 1.1 cpus are needed",
        "  offers since then: 2; refused agents: cpus 2",
        "  all agents together could hold 4 of these engines, if nothing else ran there",
        "  what could help: fewer engines, less `cpus` for each, or more agents",
        now=63.0,
    )


def test_the_impossible() -> None:
    state = after(start(1, replace(ENGINE, resources=Resources(64000, 1))), Offered((offer(),)), listed(agent()))
    _, engines = explain(state, 20.0).groups
    assert (engines.why, engines.hint) == ("failed", "less `cpus`, or bigger agents")
    assert engines.message == (
        "no agent of this Mesos could ever fit one engine and its executor (64.1 cpus, 101 MB of memory):"
        " the largest, host-a1, has 4 cpus in all, and 64.1 cpus are needed"
    )


def test_what_has_run_before_waits_for_its_agent() -> None:
    state, (_, _, engine) = running(2)
    state = after(state, status(engine, "LOST", reason="REASON_AGENT_REMOVED"), listed(agent(cpus=100)))
    reads(
        state,
        "connected to m:5050",
        "engine set e: 1 of 2 running, waiting since 00:00:03 UTC (17 s)",
        "  1 of 2 missing: no agent that is there now could take it: the nearest, host-a1, has 0.1 cpus in all, and"
        " 1.1 cpus are needed",
        "  offers since then: 0",
        "  what could help: wait until one that could comes back; or less `cpus`, or bigger agents",
    )


def test_stopping() -> None:
    state, tasks = running(2)
    state = after(state, StopWanted("asked by bob"), now=2.0)
    assert explain(state, 7.0).summary == (
        "stopping for 5 s (asked by bob): the controller and 2 engines on host-a1 still to end"
    )
    state = after(state, *(status(task, "KILLED") for task in tasks[:2]))
    assert explain(state, 2.5).text == "stopping (asked by bob): 1 engine on host-a1 still to end"
    state = after(state, status(tasks[2], "KILLED"), Disconnected("gone"), now=4.0)
    assert explain(state, 4.0).text == (
        "stopping for 2 s (asked by bob): all tasks have ended, and no Mesos master answers"
    )


def test_refused_agents_are_counted_per_reason_in_the_funnels_order_and_offers_since_something_is_missing() -> None:
    state, _ = running(1)
    state = after(state, Offered((offer("late"),)), now=2.0)  # nothing was missing
    state = after(state, EnginesWanted("e", 3, replace(ENGINE, resources=Resources(4000, 500))), now=2.0)
    offers = (offer("o1", "a2", cpus=1000), offer("o2", "a3", cpus=3000), offer("o3", "a4", mem=50))
    state = after(state, Offered(offers))
    state = after(state, Offered((offer("o4", "a3", cpus=3500),)), now=4.0)
    (group,) = explain(state, 10.0).groups
    assert list(group.refused.items()) == [
        ("role", 0), ("attributes", 0), ("draining", 0), ("failing", 0),
        ("cpus", 2), ("mem", 1), ("disk", 0), ("gpus", 0), ("ports", 0),
    ]  # fmt: skip
    best = {"agent": "host-a4", "reason": "mem", "offered": "50 MB of memory", "wanted": "600 MB of memory"}
    shown = group.as_dict()
    assert (shown["offers"], shown["best"], shown["why"]) == (4, best, "refused")
    assert (shown["since"], shown["waited"]) == (2.0, 8.0)
    assert json.loads(json.dumps(shown)) == shown
    assert shown["reason"] == (
        "too little memory: the best offer, from host-a4, has 50 MB of memory, and 600 MB of memory are needed"
    )


def test_since_when_goes_on_over_failures_and_masters() -> None:
    state = fails(message="exit status 1")
    assert explain(state, 40.0).groups[0].since == 0.0
    state = after(state, Disconnected("gone"), now=41.0)
    assert explain(state, 42.0).groups[0].since == 0.0


def test_times_are_told_as_the_reader_wants_them() -> None:
    text = explain(after(start(1)), 20.0, at=lambda seconds: f"<{seconds:.0f}>").text
    assert "waiting since <3> (17 s)" in text


PAGE = (Path(__file__).parents[2] / "docs" / "waiting.md").read_text()


def test_the_page_explains_every_word_and_every_field() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert {word: rows[word] for word in WHY} == WHY
    assert {field.name for field in fields(GroupExplanation)} | set(FUNNEL) <= rows.keys()


@pytest.mark.parametrize(
    "seconds, text", [(-1, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200000, "2 d")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
