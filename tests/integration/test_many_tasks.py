"""Many short tasks: none is lost, none runs twice, all is acknowledged."""

from __future__ import annotations

import pytest

from benchmarks.tasks import run

pytestmark = pytest.mark.mesos


def test_a_thousand_tasks_on_twenty_agents() -> None:
    outcome = run(1000, 20, timeout=300)
    print(outcome)
    assert (outcome.launched, outcome.finished, outcome.twice, outcome.lost) == (1000, 1000, 0, 0)
    assert outcome.acknowledged >= outcome.updates, "Mesos repeats what isn't acknowledged soon, so it may be more"
