"""No state of a small world, reached or not, from which a goal is not reached, or in which a step does harm.

The whole of it, up to four instances at two load balancers, is `make prove` (docs/proof.md).
"""

from __future__ import annotations

import pytest
from judging import judged
from pilot import Pilot, decide
from scopes import Scope

SCOPES = [
    Scope(2, 2, 2, canaries=(1, 2), waves=(1, 2), delayed=True),
    Scope(2, 2, 2, canaries=(1, 2), waves=(1, 2), lists_running=True),
    Scope(2, 1, 2),
    Scope(1, 2, 2, canaries=(1, 2)),
    Scope(2, 2, 2, label=None),
    Scope(2, 2, 2, label=3),
    Scope(2, 2, 2, label=1),
    Scope(1, 1, 1, everywhere=2),
    Scope(2, 2, 1, everywhere=0),
    Scope(2, 2, 1, canaries=(1, 2), no_room=True),
]


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.name)
def test_every_goal_is_reached_from_every_state_and_no_step_does_harm(scope: Scope) -> None:
    graph = scope.graph()
    assert graph.explore(scope.starts())
    judgement = judged(graph)
    assert not judgement.faults, f"{len(judgement.faults)} faults\n" + "\n".join(judgement.faults[:5])


def test_the_decisions_of_the_model_are_those_of_the_engine() -> None:
    scope = Scope(2, 2, 2)
    graph = scope.graph()
    graph.explore(scope.starts())
    pilot = Pilot(scope.rules, graph.stages)
    for state in graph.states[::3]:
        for stage, step in zip(graph.stages, pilot.decide(state), strict=True):
            assert step == decide(scope.rules, stage, state)


@pytest.mark.parametrize(
    ("rule", "met", "scope"),
    [
        ("bgci.engine.removal.until_drained", None, Scope(1, 1, 1)),
        ("bgci.engine.removal._few_are_lost", True, Scope(2, 1, 1, no_room=True)),
        ("bgci.engine.removal._unless_too_few_serve", None, Scope(1, 1, 1, everywhere=2)),
        ("bgci.engine.strategies.back._enters_rotation", None, Scope(2, 2, 1, everywhere=0)),
        ("bgci.engine.strategies.back.until_returned", None, Scope(1, 2, 1, everywhere=0)),
        ("bgci.engine.strategies.bluegreen.until_serving", None, Scope(1, 1, 1)),
    ],
)
def test_an_engine_without_one_of_its_rules_fails_the_proof(
    rule: str, met: bool | None, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, lambda *_: met)
    graph = scope.graph()
    graph.explore(scope.starts())
    assert judged(graph).faults
