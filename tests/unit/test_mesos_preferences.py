"""Which offers are worth making, as the master is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ipymesos import mesos
from ipymesos.core.cluster import Cluster
from ipymesos.core.resources import Resources
from ipymesos.core.session import Everything, Session
from ipymesos.core.specs import ControllerSpec, EngineSet, EngineSpec, Spec
from ipymesos.mesos import Preferences

RACK, GPU = (("rack", "a"),), (("gpu", "yes"), ("rack", "b"))
CONTROLLER = ControllerSpec(Resources(500, 512), constraints=RACK)
SMALL = EngineSpec(Resources(1000, 300), pack=Resources(100, 128), constraints=GPU)
BIG = EngineSpec(Resources(8000, 9000, gpus=1), pack=Resources(100, 128), constraints=GPU)


def waiting(since: float = 0.0, **engines: EngineSpec) -> Everything:
    spec = Spec(CONTROLLER, {name: EngineSet(2, spec) for name, spec in engines.items()})
    groups = ["controller", *engines]
    session = Session(connected=True, subscribed_at=-100.0, missing_since=dict.fromkeys(groups, since))
    return Everything(Cluster("mine", spec), session)


def test_nothing_wanted_no_offers() -> None:
    assert mesos.preferences(Everything(Cluster("mine")), 5.0) == Preferences(suppressed=True)
    stopping = waiting().with_cluster(stopping="enough")
    assert mesos.preferences(stopping, 5.0) == Preferences(suppressed=True)


def test_at_first_every_offer_is_welcome_since_it_may_explain_the_waiting() -> None:
    assert mesos.preferences(waiting(e=SMALL), 9.9) == Preferences()
    assert mesos.preferences(replace(waiting(e=SMALL), session=Session()), 100.0) == Preferences()
    newly = waiting(e=SMALL).with_session(subscribed_at=95.0)
    assert mesos.preferences(newly, 100.0) == Preferences()
    later = waiting(e=SMALL).with_session(missing_since={"controller": 0.0, "e": 95.0})
    assert mesos.preferences(later, 100.0) == Preferences()


def test_then_only_what_could_take_something() -> None:
    assert mesos.preferences(waiting(b=BIG, s=SMALL), 11.0) == Preferences(
        smallest=(Resources(510, 544), Resources(1000, 300), Resources(8000, 9000, gpus=1)),
        constraints=(GPU, RACK),
    )


def test_one_group_that_may_be_anywhere_lifts_all_constraints() -> None:
    anywhere = replace(SMALL, constraints=())
    found = mesos.preferences(waiting(b=BIG, s=anywhere), 11.0)
    assert found.constraints == () and len(found.smallest) == 3


INFO: dict[str, Any] = mesos.framework_info(mesos.Framework("mine", "jane", roles=("a", "b")))


def test_subscribe() -> None:
    assert mesos.subscribe(INFO, Preferences()) == {"type": "SUBSCRIBE", "subscribe": {"framework_info": INFO}}
    known = {**INFO, "id": {"value": "f1"}}
    narrow = Preferences(suppressed=True, smallest=(Resources(1),), constraints=(RACK,))
    assert mesos.subscribe(known, narrow) == {
        "type": "SUBSCRIBE",
        "framework_id": {"value": "f1"},
        "subscribe": {"framework_info": known, "suppressed_roles": ["a", "b"]},
    }


def test_an_update() -> None:
    wanted = Preferences(smallest=(Resources(1500, 300), Resources(100, 32, gpus=1)), constraints=(GPU, RACK))
    known = {**INFO, "id": {"value": "f1"}}
    quantities = [
        {"quantities": {"cpus": {"value": 1.5}, "mem": {"value": 300.0}}},
        {"quantities": {"cpus": {"value": 0.1}, "mem": {"value": 32.0}, "gpus": {"value": 1.0}}},
    ]
    filters = {"min_allocatable_resources": {"quantities": quantities}}

    def equal(name: str, value: str) -> dict[str, Any]:
        return {"selector": {"attribute_name": name}, "predicate": {"text_equals": {"value": value}}}

    groups = [
        {"attribute_constraints": [equal("gpu", "yes"), equal("rack", "b")]},
        {"attribute_constraints": [equal("rack", "a")]},
    ]
    assert mesos.update_framework(INFO, "f1", wanted) == {
        "type": "UPDATE_FRAMEWORK",
        "framework_id": {"value": "f1"},
        "update_framework": {
            "framework_info": {**known, "offer_filters": {"a": filters, "b": filters}},
            "offer_constraints": {"role_constraints": {"a": {"groups": groups}, "b": {"groups": groups}}},
        },
    }
    assert mesos.update_framework(INFO, "f1", Preferences()) == {
        "type": "UPDATE_FRAMEWORK",
        "framework_id": {"value": "f1"},
        "update_framework": {"framework_info": known},
    }


@pytest.mark.parametrize(
    "subscribed, known",
    [
        ({"master_info": {"capabilities": [{"type": "AGENT_UPDATE"}, {"type": "AGENT_DRAINING"}]}}, True),
        ({"master_info": {"capabilities": [{"type": "AGENT_UPDATE"}]}}, False),
        ({"master_info": {"capabilities": "AGENT_DRAINING"}}, False),
        ({"master_info": {}}, False),
        ({"master_info": 3}, False),
        ({}, False),
    ],
)
def test_which_masters_take_updates(subscribed: dict[str, Any], known: bool) -> None:
    assert mesos.takes_updates(subscribed) is known
