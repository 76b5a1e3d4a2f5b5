"""Records the configurations that the real marathon-lb generates for made-up apps: ``record.py MARATHON_LB_CHECKOUT >
recorded.jsonl``.

It needs pycurl, requests, python-dateutil, six and PyJWT 1. Each line has the apps as Marathon shows them, the groups
of the balancer, and for each of three passes over the same apps the configuration below the head, or null where
marathon-lb raises. The second and third pass are those after an invalid configuration."""

from __future__ import annotations

import copy
import json
import logging
import random
import sys
from typing import Any

Json = dict[str, Any]
HEAD = "stats socket x expose-fd listeners\n"
PORTS = (10101, 10102, 10103, 12000)
SANE = {
    "AUTH": ["r:u:p"], "BACKEND_HEALTHCHECK_PORT_INDEX": ["0", "1", "5"], "BACKEND_WEIGHT": ["0", "3", "-1"],
    "BACKEND_NETWORK_ALLOWED_ACL": ["10.0.0.0/8 127.0.0.1", ""], "BALANCE": ["leastconn", "x"],
    "BIND_ADDR": ["1.2.3.4", ""], "BIND_OPTIONS": ["ssl", ""], "ENABLED": ["true", "T", "no", "Y", "", "1"],
    "GROUP": ["a", "a,b", "", "external"], "HTTP_BACKEND_PROXYPASS_PATH": ["/x", ""], "HTTP_BACKEND_REDIR": ["/y"],
    "HTTP_BACKEND_REVPROXY_PATH": ["/z"], "MODE": ["http", "tcp", "HTTP", "health", ""], "PATH": ["/p", "", " /q"],
    "PORT": ["12000", "10102"], "REDIRECT_TO_HTTPS": ["true", "false"], "SSL_CERT": ["/s.pem", ""],
    "STICKY": ["true", "no"], "USE_HSTS": ["true", "f"], "VHOST": ["A.example", "a.example,b.example", "", "a,"],
}  # fmt: skip
UNREADABLE = {"AUTH": ["r:u", "", "r:u:p:q"], "BACKEND_WEIGHT": ["high", ""], "PORT": ["x"]}
ODD = [
    "{",
    "}",
    "{foo}",
    "{}",
    "{0}",
    "{backend:d}",
    "{servicePort}",
    "{hostname}",
    "{otherOptions}",
    "plain",
    "x\r\ny",
]


class Maker:
    """Makes up apps."""

    def __init__(self, seed: int, templates: dict[str, str]) -> None:
        self._random = random.Random(seed)
        self._templates = templates

    def apps(self) -> list[Json]:
        return [self._app() for _ in range(self._random.randint(1, 4))]

    def pick(self, *values: Any) -> Any:
        return self._random.choice(values)

    def often(self, share: float) -> bool:
        return self._random.random() < share

    def _labels(self, ports: int) -> dict[str, str]:
        labels = {}
        for index in range(ports):
            for name in self._random.sample([*SANE, *["VHOST", "PATH", "AUTH"] * 3], self._random.randint(0, 5)):
                source = UNREADABLE if name in UNREADABLE and self.often(0.02) else SANE
                labels[f"HAPROXY_{index}_{name}"] = self.pick(*source[name])
            for name in self._random.sample(sorted(self._templates), self.pick(0, 0, 0, 0, 0, 3)):
                own = self._templates[name] + "# own\n"
                labels[f"HAPROXY_{index}_{name}"] = own if self.often(0.8) else self.pick(*ODD)
        if self.often(0.3):
            labels["HAPROXY_GROUP"] = self.pick("external", "a,b", "")
        if self.often(0.5):
            labels["HAPROXY_DEPLOYMENT_GROUP"] = self.pick("web", "/web", "other")
            if self.often(0.95):
                labels["HAPROXY_DEPLOYMENT_STARTED_AT"] = f"2024-05-0{self._random.randint(1, 4)}T10:00:00"
            if self.often(0.6):
                labels["HAPROXY_DEPLOYMENT_NEW_INSTANCES"] = "0"
                labels["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"] = self.pick("1", "2", "2", "3", "3", "x")
        return labels

    def _app(self) -> Json:
        count = self._random.randint(1, 3)
        mode = self.pick("host", "container/bridge", "container/bridge", "container")
        ports = [self.pick(*PORTS) for _ in range(count)]
        app: Json = {
            "id": self.pick("/a", "/b/c", "/web-blue", "/web-green", "/x"),
            "instances": self._random.randint(0, 4),
            "labels": self._labels(count),
            "networks": [{"mode": mode}],
            "versionInfo": {"lastScalingAt": f"2024-05-01T1{self._random.randint(0, 3)}:00:00.000Z"},
            "healthChecks": [self._check(count) for _ in range(self.pick(0, 1, 1, 2))],
            "tasks": [self._task(count) for _ in range(self._random.randint(0, 3))],
        }
        if mode == "host":
            app["portDefinitions"] = [{"port": port} for port in ports]
        else:
            app["container"] = {"portMappings": [{"containerPort": 80, "servicePort": port} for port in ports]}
        return app

    def _check(self, ports: int) -> Json:
        check = {
            "protocol": self.pick("HTTP", "MESOS_HTTP", "TCP", "HTTPS", "MESOS_TCP"),
            "intervalSeconds": 3, "timeoutSeconds": 2, "gracePeriodSeconds": 1, "maxConsecutiveFailures": 2,
        }  # fmt: skip
        own = {"port": 8080} if self.often(0.1) else {"portIndex": self._random.randrange(ports)}
        return check | own | ({"path": "/h"} if self.often(0.7) else {})

    def _task(self, ports: int) -> Json:
        # Two tasks at one place would be listed in the order of their hashes.
        number = self._random.randrange(10**6)
        task = {
            "id": f"t{number}", "host": f"127.0.{number % 250}.{number % 241 + 1}",
            "ports": [31000 + number % 900 + n for n in range(self.pick(ports, ports, ports, 1, 0))],
            "state": self.pick(*["TASK_RUNNING"] * 8, "TASK_KILLING", "TASK_LOST"),
            "ipAddresses": self.pick([], [{"ipAddress": "9.0.0.7"}]),
        }  # fmt: skip
        return task | ({"healthCheckResults": [{"alive": self.often(0.9)}]} if self.often(0.9) else {})


class Settings:
    """The members of the Marathon object that marathon-lb's functions use."""

    def health_check(self) -> bool:
        return True

    def strict_mode(self) -> bool:
        return False


def main(checkout: str, number: str = "150") -> None:
    sys.path.insert(0, checkout)
    logging.disable(logging.CRITICAL)
    import config
    import marathon_lb

    templater = config.ConfigTemplater()
    templater.t["HEAD"].value = HEAD
    labels = {name.removeprefix("HAPROXY_{0}_") for name, read in config.label_keys.items() if read is config.set_label}
    templates = {name: templater.t[name].default_value for name in labels if not name.startswith("MAP_")}
    for seed in range(int(number)):
        maker = Maker(seed, templates)
        apps, groups = maker.apps(), maker.pick(["*"], ["*"], ["external", "a"])
        shown, texts = copy.deepcopy(apps), []
        marathon_lb.healthCheckResultCache = marathon_lb.LRUCache()
        for _ in range(3):
            try:
                services = marathon_lb.get_apps(Settings(), apps)
                text = marathon_lb.config(services, groups, True, "/c.pem", templater)
                texts.append(text.removeprefix(HEAD))
            except Exception:
                texts.append(None)
        print(json.dumps({"apps": shown, "groups": groups, "passes": texts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
