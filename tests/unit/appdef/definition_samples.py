"""Definitions in each of Marathon's forms, small and valid."""

from __future__ import annotations

import copy
from typing import Any

CHECK: dict[str, Any] = {"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 3}

BRIDGE: dict[str, Any] = {
    "id": "/web",
    "instances": 4,
    "cpus": 0.1,
    "mem": 64,
    "networks": [{"mode": "container/bridge"}],
    "container": {
        "type": "DOCKER",
        "docker": {"image": "example/web:1"},
        "portMappings": [{"containerPort": 80, "servicePort": 10102}],
    },
    "healthChecks": [CHECK],
    "labels": {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "web", "HAPROXY_DEPLOYMENT_ALT_PORT": "10129"},
}

HOST: dict[str, Any] = {
    "id": "/web",
    "instances": 4,
    "cmd": "./serve $PORT0",
    "portDefinitions": [{"port": 10102, "name": "http"}],
    "healthChecks": [CHECK],
    "labels": BRIDGE["labels"],
}

LEGACY: dict[str, Any] = {
    "id": "/web",
    "instances": 4,
    "container": {
        "docker": {
            "image": "example/web:1",
            "network": "BRIDGE",
            "portMappings": [{"containerPort": 80, "servicePort": 10102}],
        },
    },
    "healthChecks": [CHECK],
    "labels": BRIDGE["labels"],
}

# A definition as bg-deploy's README shows it: nulls, no type, legacy mappings with portDefinitions beside them.
BG_DEPLOY = """{
  "volumes": null, "id": "/testapp", "cmd": null, "args": null, "user": null, "env": null, "instances": 4,
  "cpus": 0.5, "mem": 1024, "disk": 0, "gpus": 0, "executor": null, "constraints": null, "fetch": null,
  "storeUrls": null,
  "backoffSeconds": 1, "backoffFactor": 1.15, "maxLaunchDelaySeconds": 3600,
  "container": {"docker": {"image": "ThisIsAUniqueKey", "forcePullImage": false, "privileged": false,
    "portMappings": [{"containerPort": 80, "protocol": "tcp", "servicePort": 10102}], "network": "BRIDGE"}},
  "healthChecks": [{"protocol": "HTTP", "path": "/", "gracePeriodSeconds": 3, "intervalSeconds": 3, "timeoutSeconds": 3,
    "maxConsecutiveFailures": 2, "ignoreHttp1xx": false}],
  "readinessChecks": null, "dependencies": null,
  "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
  "labels": {"HAPROXY_DEPLOYMENT_GROUP": "testapp", "HAPROXY_DEPLOYMENT_ALT_PORT": "10129",
    "HAPROXY_0_GROUP": "external", "HAPROXY_0_VHOST": "testapp.example.com"},
  "acceptedResourceRoles": ["*"], "residency": null, "secrets": null, "taskKillGracePeriodSeconds": null,
  "portDefinitions": [{"port": 10102, "protocol": "tcp", "labels": {}}], "requirePorts": false
}"""


def changed(definition: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy with other top-level fields."""
    return {**copy.deepcopy(definition), **fields}


def with_labels(definition: dict[str, Any], **labels: Any) -> dict[str, Any]:
    """A copy with more labels; those given as None are gone."""
    merged = {**definition["labels"], **labels}
    return changed(definition, labels={key: value for key, value in merged.items() if value is not None})


def with_ports(definition: dict[str, Any], *ports: int, alt: str) -> dict[str, Any]:
    """A copy of BRIDGE with these service ports."""
    copied = with_labels(definition, HAPROXY_DEPLOYMENT_ALT_PORT=alt)
    copied["container"]["portMappings"] = [{"containerPort": 80 + n, "servicePort": p} for n, p in enumerate(ports)]
    return copied
