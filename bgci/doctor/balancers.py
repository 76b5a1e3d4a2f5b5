"""The rows of `bgci doctor` for one load balancer. Pure."""

from __future__ import annotations

from bgci.dcos.marathon_lb import About
from bgci.doctor.finding import CheckResult, counted, ok, warning

NAME = "load-balancer"
MASTER = "Run HAProxy with -W, like marathon-lb's image: otherwise bgci cannot see the end of a drain."
ONE_THREAD = (
    "Add `nbthread 1` to the section `global` of templates/HAPROXY_HEAD, or list the processes without a child process "
    "(docs/traffic.md, hazard 64)."
)


def load_balancer(url: str, about: About) -> CheckResult:
    found = f"{url}: HAProxy {about.version or 'of unknown version'}"
    if about.older_workers:
        found += f"; {counted(about.older_workers, 'older worker')} can still hold sessions; drains wait for them"
    if about.lone:
        return warning(NAME, f"{found}; it runs without a master process", MASTER)
    if about.forking_threads > 1:
        threads = f"it has {about.forking_threads} threads, so each request for /_haproxy_getpids, of bgci or of others"
        return warning(NAME, f"{found}; {threads}, can end single requests of users with 502", ONE_THREAD)
    return ok(NAME, found)
