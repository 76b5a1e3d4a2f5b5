"""The fields that Marathon reads from an app definition (marathon: docs/docs/rest-api/public/api/v2/types).

The generator rounds limits down to whole numbers: ``cpus`` may be 0, although the RAML says 0.001."""

from __future__ import annotations

from typing import Any

from bgci.sandbox.marathon.raml import (
    BOOLEAN,
    DOUBLE,
    INT,
    LONG,
    STRING,
    STRINGS,
    TIME,
    Array,
    Enum,
    Field,
    Map,
    Object,
    Scalar,
    Union,
    optional,
    required,
)  # fmt: skip

_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PATH_ID = r"(\/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]))?($|\/))+"
EXECUTOR = r"(//cmd)|(/?[^/]+(/[^/]+)*)|"

_LABELS = optional(STRINGS)
_LABELS_OMITTED = optional(STRINGS, omit_empty=True)
_LEGACY_NAME = optional(STRING, min_length=1, pattern=_NAME)
_PROTOCOL = optional(Enum(("tcp", "udp", "udp,tcp")), "tcp")
_SCHEME = optional(Enum(("HTTP", "HTTPS")), "HTTP")
_PATH = {"min_length": 1, "max_length": 1024}


def _port(default: int | None = None, **more: Any) -> Field:
    return optional(INT, default, least=0, most=65535, **more)


def _seconds(default: int | None = None, least: int = 0) -> Field:
    return optional(INT, default, least=least)


def _amount(default: float | None, least: int = 0) -> Field:
    return optional(DOUBLE, default, least=least)


_MAPPING = Object({
    "containerPort": _port(0), "hostPort": _port(), "labels": _LABELS, "name": _LEGACY_NAME, "protocol": _PROTOCOL,
    "servicePort": _port(0), "networkNames": optional(Array(STRING), omit_empty=True),
})  # fmt: skip
_PORT_DEFINITION = Object({"port": _port(0), "labels": _LABELS_OMITTED, "name": _LEGACY_NAME, "protocol": _PROTOCOL})
_NETWORK = Object({
    "name": optional(STRING, min_length=1, max_length=63, pattern=r"[a-z0-9]([-a-z0-9_]*[a-z0-9])?"),
    "mode": optional(Enum(("container", "container/bridge", "host")), "container"),
    "labels": _LABELS_OMITTED,
})  # fmt: skip
_DISCOVERY_PORT = Object({
    "number": _port(0), "name": required(STRING, min_length=1, pattern=_NAME), "protocol": _PROTOCOL,
    "labels": _LABELS_OMITTED,
})  # fmt: skip
_IP_ADDRESS = Object({
    "discovery": optional(Object({"ports": optional(Array(_DISCOVERY_PORT), omit_empty=True)})),
    "groups": optional(Array(STRING, unique=True), omit_empty=True), "labels": _LABELS_OMITTED,
    "networkName": optional(STRING, min_length=1),
})  # fmt: skip

_DOCKER = Object({
    "credential": optional(Object({"principal": required(STRING), "secret": optional(STRING)})),
    "pullConfig": optional(Object({"secret": required(STRING, min_length=1)})),
    "forcePullImage": optional(BOOLEAN, False), "image": required(STRING, min_length=1),
    "network": optional(Enum(("BRIDGE", "HOST", "NONE", "USER"))),
    "parameters": optional(Array(Object({"key": required(STRING, min_length=1), "value": required(STRING)}))),
    "portMappings": optional(Array(_MAPPING), force_optional=True), "privileged": optional(BOOLEAN, False),
})  # fmt: skip
_APPC = Object({
    "image": required(STRING, min_length=1), "id": optional(STRING, min_length=7), "labels": _LABELS,
    "forcePullImage": optional(BOOLEAN, False),
})  # fmt: skip
_LINUX = Object({
    "seccomp": optional(Object({"profileName": optional(STRING), "unconfined": optional(BOOLEAN, False)})),
    "ipcInfo": optional(Object({"mode": required(Enum(("PRIVATE", "SHARE_PARENT"))), "shmSize": optional(INT)})),
})  # fmt: skip

_CONTAINER_PATH = required(STRING, min_length=1)
_MODE = required(Enum(("RO", "RW")))
_PERSISTENT = Object({
    "type": optional(Enum(("root", "path", "mount"))), "size": required(LONG, least=0),
    "maxSize": optional(LONG, least=0), "profileName": optional(STRING),
    "constraints": optional(Array(Array(STRING), unique=True)),
})  # fmt: skip
_CAPABILITY = Object({
    "accessMode": required(STRING), "accessType": required(STRING), "fsType": optional(STRING),
    "mountFlags": optional(Array(STRING), omit_empty=True),
})  # fmt: skip
_CSI = Object({
    "name": required(STRING), "provider": required(STRING),
    "options": required(Object({
        "pluginName": required(STRING, min_length=1), "capability": required(_CAPABILITY),
        "nodeStageSecret": _LABELS_OMITTED, "nodePublishSecret": _LABELS_OMITTED, "volumeContext": _LABELS_OMITTED,
    })),
})  # fmt: skip


def _volume(shared: bool) -> Union:
    """Any volume; ``shared``: whether external ones can be (1.8 and later), and are by CSI."""
    fields = {
        "size": optional(LONG, least=0), "name": optional(STRING), "provider": optional(STRING),
        "options": _LABELS_OMITTED,
    }  # fmt: skip
    dvdi = Object({**fields, **({"shared": optional(BOOLEAN, False)} if shared else {})})
    external = Union((dvdi, _CSI)) if shared else dvdi
    mount = {"containerPath": _CONTAINER_PATH, "mode": _MODE}
    secret = Object({"containerPath": _CONTAINER_PATH, "secret": required(STRING, min_length=1)})
    host = Object({"containerPath": _CONTAINER_PATH, "hostPath": required(STRING, min_length=1), "mode": _MODE})
    persistent = Object({**mount, "persistent": required(_PERSISTENT)})
    return Union((persistent, Object({**mount, "external": required(external)}), secret, host))


_CONTAINER: dict[str, Field] = {
    "type": optional(Enum(("MESOS", "DOCKER")), "DOCKER"), "docker": optional(_DOCKER),
    "portMappings": optional(Array(_MAPPING), force_optional=True),
}  # fmt: skip

_ENDPOINT: dict[str, Field] = {"portIndex": _port(), "port": _port()}
_COMMAND = Object({"command": required(Union((
    Object({"shell": required(STRING, min_length=1)}), Object({"argv": required(Array(STRING), min_length=1)}),
)))})  # fmt: skip
_TIMES: dict[str, Field] = {
    "intervalSeconds": _seconds(60), "timeoutSeconds": _seconds(20), "delaySeconds": _seconds(15)
}  # fmt: skip
_CHECK = Object({
    "http": optional(Object({**_ENDPOINT, "path": optional(STRING, **_PATH), "scheme": _SCHEME})),
    "tcp": optional(Object(_ENDPOINT)), "exec": optional(_COMMAND), **_TIMES,
})  # fmt: skip
_HEALTH_CHECK = Object({
    "command": optional(Object({"value": required(STRING)})), "gracePeriodSeconds": _seconds(300),
    "ignoreHttp1xx": optional(BOOLEAN), "intervalSeconds": _seconds(60), "maxConsecutiveFailures": _seconds(3),
    "path": optional(STRING), **_ENDPOINT,
    "protocol": optional(Enum(("HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS")), "HTTP"),
    "ipProtocol": optional(Enum(("IPv4", "IPv6")), "IPv4"), "timeoutSeconds": optional(INT, 20),
    "delaySeconds": _seconds(15),
})  # fmt: skip
_READINESS_CHECK = Object({
    "name": optional(STRING, "readinessCheck", min_length=1), "protocol": _SCHEME,
    "path": optional(STRING, "/", **_PATH),
    "portName": optional(STRING, "http-api", min_length=1, pattern=_NAME), "intervalSeconds": _seconds(30),
    "timeoutSeconds": _seconds(10, least=1),
    "httpStatusCodesForReady": optional(Array(INT, unique=True), force_optional=True, min_length=1),
    "preserveLastResponse": optional(BOOLEAN, False),
})  # fmt: skip

_LIMIT = Union((STRING, DOUBLE))
_UNREACHABLE = Union((
    Scalar("error.expected.jsstring", lambda value: isinstance(value, str), lambda _: "disabled"),
    Object({"inactiveAfterSeconds": optional(LONG, 0, least=0), "expungeAfterSeconds": optional(LONG, 0, least=0)}),
))  # fmt: skip
_UPGRADE = Object({
    "maximumOverCapacity": required(DOUBLE, least=0, most=1), "minimumHealthCapacity": required(DOUBLE, least=0, most=1)
})  # fmt: skip
_RESIDENCY = Object({
    "relaunchEscalationTimeoutSeconds": optional(LONG, 3600, least=0),
    "taskLostBehavior": optional(Enum(("WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT")), "WAIT_FOREVER"),
})  # fmt: skip
_ARTIFACT = Object({
    "uri": required(STRING, **_PATH), "extract": optional(BOOLEAN, True), "executable": optional(BOOLEAN, False),
    "cache": optional(BOOLEAN, False), "destPath": optional(STRING, **_PATH),
})  # fmt: skip

_COMMON: dict[str, Field] = {
    "id": required(STRING, min_length=1, pattern=_PATH_ID),
    "acceptedResourceRoles": optional(Array(STRING, unique=True), force_optional=True),
    "args": optional(Array(STRING), omit_empty=True), "backoffFactor": _amount(1.15, least=1),
    "backoffSeconds": _seconds(1), "cmd": optional(STRING, min_length=1),
    "constraints": optional(Array(Array(STRING), unique=True), omit_empty=True), "cpus": _amount(1.0),
    "dependencies": optional(Array(STRING, unique=True), omit_empty=True), "disk": _amount(0.0),
    "env": optional(Map(Union((STRING, Object({"secret": required(STRING)})))), omit_empty=True),
    "executor": optional(STRING, "", pattern=EXECUTOR),
    "executorResources": optional(Object({"cpus": _amount(0.1), "mem": _amount(32.0, 32), "disk": _amount(10.0, 10)})),
    "fetch": optional(Array(_ARTIFACT), omit_empty=True),
    "healthChecks": optional(Array(_HEALTH_CHECK, unique=True), omit_empty=True), "instances": _seconds(1),
    "labels": _LABELS, "mem": _amount(128.0), "gpus": _seconds(0), "ipAddress": optional(_IP_ADDRESS),
    "networks": optional(Array(_NETWORK)), "ports": optional(Array(INT), force_optional=True),
    "portDefinitions": optional(Array(_PORT_DEFINITION), force_optional=True),
    "readinessChecks": optional(Array(_READINESS_CHECK), omit_empty=True), "residency": optional(_RESIDENCY),
    "requirePorts": optional(BOOLEAN, False),
    "secrets": optional(Map(Object({"source": required(STRING, min_length=1)})), omit_empty=True),
    "taskKillGracePeriodSeconds": _seconds(), "upgradeStrategy": optional(_UPGRADE),
    "uris": optional(Array(STRING), force_optional=True), "user": optional(STRING), "version": optional(TIME),
    "versionInfo": optional(Object({"lastScalingAt": required(TIME), "lastConfigChangeAt": required(TIME)})),
    "killSelection": optional(Enum(("YOUNGEST_FIRST", "OLDEST_FIRST")), "YOUNGEST_FIRST"),
    "unreachableStrategy": optional(_UNREACHABLE), "tty": optional(BOOLEAN),
}  # fmt: skip

APP_1_11 = Object({
    **_COMMON,
    "container": optional(Object({
        **_CONTAINER, "linuxInfo": optional(_LINUX), "volumes": optional(Array(_volume(shared=True)))
    })),
    "check": optional(_CHECK), "maxLaunchDelaySeconds": _seconds(300), "role": optional(STRING, min_length=1),
    "resourceLimits": optional(Object({"cpus": optional(_LIMIT), "mem": optional(_LIMIT)})),
})  # fmt: skip
APP_1_7 = Object({
    **_COMMON,
    "container": optional(Object({
        **_CONTAINER, "appc": optional(_APPC), "volumes": optional(Array(_volume(shared=False)))
    })),
    "maxLaunchDelaySeconds": _seconds(3600),
})  # fmt: skip
