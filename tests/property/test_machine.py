"""Random worlds against the core: whatever happens, the invariants of core/scheduler.py hold, and once the world
is quiet, what is wanted runs."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipymesos.core import policy
from ipymesos.core.cluster import Cluster, State
from ipymesos.core.explain import explain
from ipymesos.core.messages import Disconnected, EnginesDropped, EnginesWanted, Launch, Subscribed, Ticked, Updated
from ipymesos.core.resources import Resources
from ipymesos.core.session import Everything
from ipymesos.core.specs import CONTROLLER, Spec
from tests.fake_mesos import FakeAgent, FakeMesos
from tests.stories import CONTROLLER_SPEC, ENGINE, step

WORDS = ["STARTING", "RUNNING", "RUNNING", "FAILED", "KILLED", "LOST", "UNREACHABLE"]
SETS = st.sampled_from(["e", "f"])


class ClusterOnMesos(RuleBasedStateMachine):
    @initialize(
        agents=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40)), min_size=1, max_size=4),
        bound=st.integers(0, 3),
    )
    def begin(self, agents, bound):
        self.mesos = FakeMesos(
            FakeAgent(f"a{i}", Resources(cpus * 1000, 20_000), ((100, 99 + ports),) if ports else ())
            for i, (cpus, ports) in enumerate(agents)
        )
        self.engine = replace(ENGINE, per_container=bound)
        self.state = Everything(Cluster("test", Spec(CONTROLLER_SPEC)))
        self.saved = self.state.cluster
        self.turn(Subscribed("fw", "m"))

    def turn(self, *events):
        """The application's loop: observe, plan, record, save, send."""
        self.state, actions = step(self.state, *events, now=self.mesos.now)
        self.saved = self.state.cluster
        answered = [o for a in actions if hasattr(a, "offer_ids") for o in a.offer_ids]
        assert len(answered) == len(set(answered))
        for action in actions:
            if isinstance(action, Launch):
                assert all(self.saved.tasks[t.id] == t for t in action.tasks)
                for task in action.tasks:
                    # Engines only for a controller that has been launched, in this round or before.
                    assert task.group == CONTROLLER or task.controller in self.mesos.ever | {
                        t.id for a in actions if isinstance(a, Launch) for t in a.tasks
                    }
            self.mesos.call(action)
        assert not self.state.session.offers

    def deliver(self):
        events, self.mesos.inbox = self.mesos.inbox, []
        self.turn(*events)

    @rule()
    def hear(self):
        self.deliver()

    @rule(seconds=st.sampled_from([0.1, 1.0, 11.0, 70.0, 1000.0]))
    def wait(self, seconds):
        self.mesos.now += seconds
        self.mesos.allocate()
        self.turn(Ticked())

    @rule(group=SETS, n=st.integers(0, 6))
    def want(self, group, n):
        self.turn(EnginesWanted(group, n, self.engine))

    @rule(group=SETS)
    def drop(self, group):
        self.turn(EnginesDropped(group))

    @rule(
        data=st.data(),
        word=st.sampled_from(WORDS),
    )
    def task_moves(self, data, word):
        if self.mesos.tasks:
            name = data.draw(st.sampled_from(sorted(self.mesos.tasks)))
            self.mesos.move(name, word)

    @rule(data=st.data())
    def rescind(self, data):
        self.mesos.rescind(data.draw(st.sampled_from(sorted(self.mesos.agents))))

    @rule(data=st.data())
    def agent_drains(self, data):
        if others := sorted(self.mesos.agents.keys() - self.mesos.drained.keys()):
            self.mesos.drain(data.draw(st.sampled_from(others)))

    @rule(data=st.data())
    def drain_is_called_off(self, data):
        self.mesos.call_drain_off(data.draw(st.sampled_from(sorted(self.mesos.agents))))

    @rule(deaf=st.booleans())
    def messages_get_lost(self, deaf):
        self.mesos.deaf = deaf

    @rule()
    def updates_come_again(self):
        self.mesos.resend()

    @rule(name=st.sampled_from(["ghost-1", "ghost-2"]))
    def unknown_task(self, name):
        self.mesos.inbox.append(Updated(name, "a0", "TASK_RUNNING", uuid="ghost"))

    @rule()
    def connection_breaks(self):
        self.mesos.forget_connection()
        self.turn(Disconnected())
        self.turn(Subscribed("fw", "m2"))

    @rule()
    def scheduler_restarts(self):
        """Only what was saved survives."""
        self.mesos.forget_connection()
        self.state = Everything(self.saved)
        self.turn(Subscribed("fw", "m"))

    @precondition(lambda self: not any(s.final for s in self.state.cluster.setbacks.values()))
    @rule()
    def calm(self):
        """Left alone, the cluster becomes what is wanted, as far as there is room."""
        self.mesos.deaf = False
        for _ in range(30):
            self.mesos.now += 61.0
            for name in list(self.mesos.tasks):
                known = self.state.cluster.tasks.get(name)
                if known is not None and known.state is not State.RUNNING:
                    self.mesos.move(name, "RUNNING")
            self.deliver()
            self.mesos.resend()
            self.mesos.allocate()
            self.deliver()
            self.turn(Ticked())
        cluster = self.state.cluster
        assert set(self.mesos.tasks) == set(cluster.tasks)
        if policy.missing(cluster):
            hopeless = any(setback.final for setback in cluster.setbacks.values())  # since the agents were listed
            assert hopeless or self.state.session.refusals or not self.mesos.suppressed
            assert explain(self.state, self.mesos.now).groups or cluster.draining
        else:
            assert self.state.session.suppressed
        live = {t.id for group in policy.wanted(cluster) for t in policy.live(cluster, group)}
        assert live == set(cluster.tasks), "nothing runs that nobody wants"
        if cluster.serving:
            homes = {t.controller for t in cluster.tasks.values() if t.group != CONTROLLER}
            assert homes <= {cluster.serving.id}, "every engine is with the controller that clients use"

    @invariant()
    def sizes(self):
        if not hasattr(self, "state") or not self.engine.per_container:
            return
        for agent in self.mesos.agents.values():
            for executor in {t.executor_id for t in agent.tasks.values() if t.group != CONTROLLER}:
                pack = [t for t in agent.tasks.values() if t.executor_id == executor]
                assert len(pack) <= self.engine.per_container


TestClusterOnMesos = ClusterOnMesos.TestCase
TestClusterOnMesos.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
