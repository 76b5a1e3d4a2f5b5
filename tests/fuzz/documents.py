"""Good documents and texts, and pieces that a fuzz test puts into them."""

from __future__ import annotations

from typing import Any

from hostile.good_answers import DEFINITION

FULL: dict[str, Any] = {
    **DEFINITION,
    "acceptedResourceRoles": ["*"],
    "args": ["a"],
    "backoffFactor": 1.15,
    "backoffSeconds": 1,
    "constraints": [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "3"]],
    "dependencies": ["/db"],
    "env": {"A": "b", "S": {"secret": "s"}},
    "secrets": {"s": {"source": "/web/s"}},
    "fetch": [{"uri": "http://a/b", "extract": True}],
    "gpus": 0,
    "healthChecks": [
        {"protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 5, "maxConsecutiveFailures": 3},
        {"protocol": "COMMAND", "command": {"value": "true"}},
    ],
    "labels": {
        **DEFINITION["labels"],
        "HAPROXY_0_VHOST": "a.example,b.example",
        "HAPROXY_0_PATH": "/x",
        "HAPROXY_0_MODE": "http",
        "HAPROXY_0_BACKEND_HEAD": "backend {backend}\n  balance {balance}\n  mode {mode}\n",
        "HAPROXY_0_BACKEND_SERVER_OPTIONS": "  server {serverName} {host_ipv4}:{port}{cookieOptions}\n",
        "HAPROXY_0_STICKY": "true",
        "BGCI_DRAIN_PATH": "/idle",
    },
    "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
    "unreachableStrategy": {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600},
    "taskKillGracePeriodSeconds": 5,
    "container": {
        **DEFINITION["container"],
        "volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"}],
        "portMappings": [
            {"containerPort": 80, "servicePort": 10001, "hostPort": 0, "protocol": "tcp", "name": "http"},
            {"containerPort": 81, "servicePort": 10003, "labels": {"VIP_0": "/web:80"}},
        ],
    },
}
FULL["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"] = "10002,10004"
PIECES = (
    *("{{", "}}", "{%", "%}", "{#", "#}", "{{ image }}", "{{ x }}", "{{ env.A }}", "{{ image | tojson }}"),
    *("{% for i in range(3) %}{{ i }}{% endfor %}", "{% if image %}", "{% endif %}", "{% raw %}", "{% include 'a' %}"),
    *("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{{ image.__class__ }}", "{{ 1 / 0 }}", "{{ image[::-1] }}"),
    *(
        "{{ '%d' | format('x') }}",
        "{{ image.format(a) }}",
        "{{ ''.join([1]) }}",
        "{{ 2 ** 9999999 }}",
        "{{ [] | max }}",
    ),
    *("ThisIsAUniqueKey", "&a", "*a", "<<: *a", "!!python/object:os.x {}", "!!binary x", "!!set {a}", "!!omap [a]"),
    *(
        "? [a]\n: b\n",
        "--- \n",
        "...\n",
        "%YAML 9.9\n---\n",
        "- -\n",
        "\t",
        "|",
        ">",
        "? ",
        "[",
        "{",
        "}",
        "]",
        ",",
        ":",
    ),
    *(
        "2026-01-01",
        "1:20:30",
        ".inf",
        ".nan",
        "0o7",
        "0b1",
        "1e400",
        "~",
        "null",
        "=",
        "<<",
        "{<<: [1]}",
        "\ue000\ue000",
    ),
)

SUITE: dict[str, Any] = {
    "defaults": {"headers": {"Host": "a"}, "timeout": "1s", "scheme": "http", "verify": False},
    "checks": [
        {
            "name": "a",
            "target": "both",
            "method": "POST",
            "path": "/a?b=${revision}",
            "headers": {"X-A": "b"},
            "json": {"a": [1]},
            "timeout": "900ms",
            "repeat": 2,
            "concurrency": 2,
            "port": 0,
            "expect": {
                "status": ["2xx", 404],
                "headers": {"X": "y"},
                "header_regex": {"X": "^(a|b)"},
                "body": ["hello"],
                "body_regex": ["h.l*o"],
                "json": {"$.a[?@.b > 1]": 1},
                "json_has": ["$..a"],
                "latency": {"p50": "1s", "p99.9": "2s"},
                "success_rate": "98%",
            },
        },
        {"path": "/", "body": "x", "expect": {"status": 200}},
        {
            "name": "share",
            "target": "load-balancer",
            "path": "/",
            "repeat": 10,
            "expect": {"share": {"header": {"X": "${revision}"}, "at_least": "10%", "at_most": "60%"}},
        },
        {"name": "p", "target": "preview", "path": "/", "expect": {"body": "x"}},
    ],
}

IN_PATTERNS = (
    *("a", "(", ")", "*", "+", "{2,}", "{9999999999}", "[", "]", "^", "$", "|", "(?i)", "\\1", "(?P<a>", "(?P=a)"),
    *("(?<=a*)", "\\p", "\\u12", "(?#", ".", "\\", "é", "(?:a+)+", "(?(1)a)"),
)
IN_JSON_PATHS = (
    *(
        "$",
        ".",
        "..",
        "*",
        "[",
        "]",
        "a",
        "'a'",
        "0",
        "-1",
        ":",
        "?",
        "@",
        "(",
        ")",
        ">",
        "==",
        "length",
        "match",
        "&&",
    ),
    *("!", ",", "9" * 30, '"', "\\u", "true", "1e9", "#", "_", "~", "|", "^"),
)

MANIFEST = {
    "app": "/web",
    "revision": "v2",
    "image": "image:v2",
    "files": {},
    "redacted": [],
    "template": {"name": "x"},
}
RECORDED = {
    "time": "2026-01-01T00:00:00.000Z",
    "event": "result",
    "command": "canary",
    "app": "/web",
    "revision": "v2",
    "code": 0,
    "name": "ok",
    "message": "m",
    "remedy": "r",
    "cause": {"message": "c"},
    "step": "1",
    "seconds": 1.0,
    "timings": {"total_seconds": 1.0, "limit_seconds": 0.5, "waited_seconds": {"drain": 0.5}},
    "judge": {"outcome": "pass", "reason": "r"},
    "balancer_changes": [{"name": "a", "before": "b", "after": "c"}],
}
SAMPLE = {
    "time": "2026-01-01T00:00:01.000Z",
    "event": "sample",
    "offset": 1.0,
    "canary": {"requests": 10, "errors": 0, "response_ms": 1.0},
    "baseline": {"requests": 10, "errors": 0, "response_ms": 1.0},
}

JUNIT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2"><testsuite name="s" tests="2" time="1.5"><properties><property name="a" value="b"/></properties>
<testcase name="a" classname="b" time="0.5"/><testcase name="c"><failure message="m" type="t">text</failure>
<system-out><![CDATA[x]]></system-out></testcase><testcase name="d"><skipped/></testcase></testsuite></testsuites>
"""
XML = (
    *("<", ">", "/>", "&a;", "&#0;", "&#xd800;", "<!DOCTYPE a>", "<!ENTITY a 'b'>", "]]>", "<![CDATA[", "<?xml?>"),
    *("bogus", "UTF-16", "utf-7", "idna", "xmlns='a'", "<testsuite>", "</testsuite>", "time='nan'", "time='-1e999'"),
)

VARIABLES = (
    *("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_SERVER_URL", "GITLAB_CI"),
    *("CI_JOB_ID", "CI_JOB_URL", "CI_PROJECT_PATH", "JENKINS_URL", "BUILD_URL", "JOB_NAME", "HTTP_PROXY", "NO_PROXY"),
    *("COLUMNS", "LANG", "TERM", "NO_COLOR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "MESOS_TASK_ID", "MESOS_SANDBOX"),
    *("TZ", "HOME", "BGCI_UNKNOWN", "BGCI_CONFIG", "PYTHONIOENCODING"),
)
