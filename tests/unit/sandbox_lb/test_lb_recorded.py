"""The same configurations as the real marathon-lb's, for apps that ``tests/data/marathon_lb/record.py`` made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bgci.sandbox.loadbalancer.haproxy_config import Listen, render
from bgci.sandbox.loadbalancer.services import HealthMemory, services_of

DATA = Path(__file__).parents[2] / "data" / "marathon_lb" / "recorded.jsonl.gz"
RECORDED = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]
LISTEN = Listen("*", 9090, 9091, 80, 443, "/c.pem")
OUR_OWN = "  http-request set-header Host %[req.hdr(host),field(1,:)]\n"


@pytest.mark.parametrize("case", RECORDED, ids=range(len(RECORDED)))
def test_configuration_equals_that_of_the_real_marathon_lb_or_both_raise(case: dict[str, Any]) -> None:
    apps, memory = case["apps"], HealthMemory()
    for expected in case["passes"]:
        assert configuration(apps, case["groups"], memory) == expected


def configuration(apps: list[Any], groups: list[str], memory: HealthMemory) -> str | None:
    """What is below the head and the statistics; None where something raises."""
    try:
        text = render(services_of(apps, resolve=lambda host: host, memory=memory), LISTEN, groups)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError):
        return None
    return text.partition("  server control unix@control.sock\n")[2].replace(OUR_OWN, "")
