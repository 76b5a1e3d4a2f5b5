"""Preview: tests the new revision's load-balancer settings without users (hazards 44, 45, 50)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from bgci.appdef.balancer_changes import balancer_changes
from bgci.appdef.preview_app import preview_app, preview_id, preview_ports
from bgci.checks import runner
from bgci.checks.canary_health import CanaryHealth
from bgci.checks.model import PREVIEW, Suite
from bgci.checks.runner import Place
from bgci.checks.test_result import Case, Outcome
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.running_app import RunningApp, check_window, endpoints
from bgci.dcos.tls import verification
from bgci.engine.decisions import Release
from bgci.engine.early_end import why_stalled
from bgci.engine.observation import App, Serving
from bgci.errors import BgciError, ConflictError, RejectedError, UnhealthyError, UsageError
from bgci.interruption import SLACK, before_cleanup, cleanup, pause, within
from bgci.operations.context import Context
from bgci.operations.owned_apps import Owned, require_no_strangers, strangers
from bgci.operations.suites import preview_suite
from bgci.reporting import junit

PAUSE = 0.3  # seconds between two polls
APPEAR_SECONDS = 20.0  # seconds for a healthy preview to enter rotation (measured: 1.2 to 1.5 s)
RELOAD_EVERY = 5.0  # seconds between two reload requests to a load balancer
REPORT = "junit/bgci-preview.xml"


def preview(context: Context, release: Release, mine: Owned) -> None:
    """Deploy the preview if the settings require it, wait until it serves, test it, and always delete it.

    Raises UnhealthyError when it does not become healthy or does not serve, RejectedError when a check for the preview
    fails.
    """
    definition = release.definition
    if definition is None or not _wanted(context, release, mine):
        return
    suite = preview_suite(context, release.image)
    if context.settings.dry_run:
        ports = ", ".join(str(port) for port in preview_ports(definition) if port)
        context.plan(f"Create {preview_id(context.app_id)} on port {ports} to preview the load-balancer settings.")
        return
    window = check_window(JsonAnswer(definition, "Marathon", "The definition")["healthChecks"])
    with within(2 * context.settings.timeout + APPEAR_SECONDS + window + SLACK):
        _preview(context, release.revision, definition, suite)


def _preview(context: Context, revision: str, definition: Mapping[str, Any], suite: Suite | None) -> None:
    own_id = preview_id(context.app_id)
    found = strangers(context.balancers, context.cluster.marathon, (), own_id, preview_ports(definition))
    require_no_strangers(found, own_id)
    began = time.monotonic()
    context.console.step(f"Preview: creating {preview_id(context.app_id)}, outside of the group.")
    with _deployed(context, preview_app(definition, revision)):
        running = _until_healthy(context)
        urls = [url for place in _places(context, running) for url in place.urls]
        _until_serving(context, running, running.app.check_window)
        context.console.info(f"Preview: in rotation at every load balancer: {' '.join(urls)}.")
        context.result = replace(context.result, preview={"urls": tuple(urls)})
        _test(context, suite, running)
    seconds = time.monotonic() - began
    context.result = replace(context.result, preview={"urls": tuple(urls), "seconds": round(seconds, 1)})
    context.console.result(f"The preview of {revision} served at every load balancer; it took {seconds:.1f} s.")


def remove_previews(context: Context) -> None:
    """Remove the preview or probe that an interrupted command of this app left behind."""
    if context.settings.dry_run:
        return
    for app in context.cluster.marathon.previews(context.app_id):
        context.console.step(f"Removing {app.id}, which an interrupted command left behind.")
        context.cluster.marathon.delete(app.id)


def _wanted(context: Context, release: Release, mine: Owned) -> bool:
    """Whether the settings differ, and the app has a port for the preview."""
    chosen, definition = context.settings.preview, release.definition or {}
    if chosen == "never" or any(app.revision == release.revision for app in mine.apps):
        return False
    baseline = min(mine.apps, key=lambda app: app.app.started_at, default=None)
    if chosen == "auto" and (baseline is None or not balancer_changes(baseline.definition, definition)):
        return False
    if preview_ports(definition):
        return True
    if chosen == "always":
        raise UsageError(
            "The app has no port for a preview: a service port has no number in HAPROXY_DEPLOYMENT_ALT_PORT.",
            remedy="Give each service port an alternative there, or give --preview auto.",
        )
    context.console.warn(
        "bgci runs no preview of the changed load-balancer settings: a service port has no number in "
        "HAPROXY_DEPLOYMENT_ALT_PORT."
    )
    return False


@contextmanager
def _deployed(context: Context, app: dict[str, object]) -> Iterator[None]:
    """The preview's app while the block runs. Afterwards it is always deleted, and the load balancers reload."""
    marathon, app_id = context.cluster.marathon, str(app["id"])
    if marathon.app(app_id):
        raise ConflictError(
            f"{app_id} exists already, but it is not a preview of {context.app_id}.",
            remedy="Remove it or rename it, or give --preview never.",
        )
    marathon.create(app)
    try:
        with before_cleanup():
            yield
    finally:
        with cleanup():
            marathon.delete(app_id)
            for balancer in context.balancers:
                balancer.request_reload()


def _until_healthy(context: Context) -> RunningApp:
    """The preview's app once its instance is healthy. Raises UnhealthyError after --timeout, and as soon as it is
    unlikely to become healthy."""
    launched = time.monotonic()  # or when it was created
    until = launched + context.settings.timeout
    app_id, failures, complaint, tasks = preview_id(context.app_id), set[str](), "", 0
    while True:
        found = context.cluster.marathon.app(app_id)
        if found is None:
            raise ConflictError(f"Another program deleted {app_id}.", remedy="Run the command again.")
        running = found.queued(context.cluster.marathon.queue()) if not found.app.tasks else found
        if running.app.healthy:
            return running
        why = f"Preview: {app_id} is not healthy yet" + (f": {running.app.trouble}" if running.app.trouble else "")
        failures |= {running.app.failure} - {""}
        complaint = running.app.complaint or complaint
        if len(running.app.tasks) > tasks:
            launched, tasks = time.monotonic(), len(running.app.tasks)
        seconds = time.monotonic() - launched
        stalled = why_stalled(running.app, len(failures), seconds, context.settings.progress_timeout)
        if time.monotonic() > until:
            stalled = f"The preview did not become healthy within {context.settings.timeout:.0f} s (--timeout)."
        if stalled:
            earlier = f" Earlier: {complaint}." if complaint and complaint not in why else ""
            raise UnhealthyError(
                f"{stalled} {why}.{earlier}",
                remedy="Look at the new revision's tasks and its health check. No user was affected.",
            )
        context.console.wait(why)
        pause(PAUSE)


def _until_serving(context: Context, running: RunningApp, settle: float) -> None:
    """Until every load balancer has had the preview UP for ``settle`` seconds without a break.

    UP in the statistics does not suffice: a new server counts as UP until HAProxy's checks have failed.
    """
    wanted = endpoints([running], running.id)
    (task,) = running.app.healthy[:1]
    up_since: dict[str, float] = {}
    began = reloaded = time.monotonic()
    while True:
        now = time.monotonic()
        for balancer in context.balancers:
            replica = balancer.read(wanted)
            serving = replica.server(task.id).serving
            if serving is Serving.UP:
                up_since.setdefault(balancer.url, now)
            elif balancer.url in up_since:
                raise _not_serving(
                    f"{balancer.url} takes the preview out of rotation {now - up_since[balancer.url]:.0f} s after it "
                    f"appeared there ({serving.value}): HAProxy's own checks fail with the new load-balancer settings"
                )
            elif now - began > APPEAR_SECONDS:
                raise _not_serving(
                    f"{balancer.url} does not serve the healthy preview after {APPEAR_SECONDS:.0f} s "
                    f"({replica.problem or serving.value}): marathon-lb leaves the app out because HAProxy refuses "
                    "the lines of its labels, or it updates no app at all"
                )
        if len(up_since) == len(context.balancers) and now - max(up_since.values(), default=now) >= settle:
            return
        if len(up_since) < len(context.balancers) and now - reloaded > RELOAD_EVERY:
            reloaded = now
            for balancer in context.balancers:
                balancer.request_reload()
        context.console.wait(
            f"Preview: in rotation at {len(up_since)} of {len(context.balancers)} load balancers. It must stay there "
            f"for {settle:.0f} s, fall x (interval + timeout) of its health check."
        )
        pause(PAUSE)


def _not_serving(why: str) -> UnhealthyError:
    return UnhealthyError(
        f"The preview does not serve: {why}. After the promotion the app would be unreachable in the same way.",
        remedy="Correct the HAPROXY labels of the template (docs/labels.md). No user was affected.",
    )


def _places(context: Context, running: RunningApp) -> list[Place]:
    """The preview behind each load balancer."""
    ports = [port for port in running.public_ports if port]
    hosts = [urlsplit(balancer.url).hostname or "" for balancer in context.balancers]
    netlocs = [[f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for port in ports] for host in hosts]
    return [Place(found[0], tuple(f"http://{netloc}" for netloc in found)) for found in netlocs if found]


def _test(context: Context, suite: Suite | None, running: RunningApp) -> None:
    """The suite's checks with ``target: preview``. Raises RejectedError when one fails, or the preview was replaced."""
    if suite is None:
        return
    context.console.step(f"Preview: {len(suite.checks)} checks of {suite.file}.")
    cases = runner.run(
        suite,
        {PREVIEW: _places(context, running)},
        timeout=context.settings.timeout,
        verify=verification(context.ca_cert, context.settings.insecure),
    )
    cases += _stayed_healthy(running.app, context.cluster.marathon.app(running.id))
    began = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}"
    about = {"app": context.app_id, "revision": context.revision}
    try:
        context.artifacts.write_bytes(REPORT, junit.report([replace(one, began=began) for one in cases], about))
    except BgciError as problem:
        context.console.warn(problem.message)
    bad = [case for case in cases if case.bad]
    if bad:
        named = "; ".join(f"{case.title}: {case.message}" for case in bad[:3])
        raise RejectedError(
            f"The preview is rejected, {len(bad)} of {len(cases)} checks failed: {named}",
            remedy=f"{REPORT} in the artifacts has requests and answers. No user was affected; the preview was "
            "deleted.",
        )


def _stayed_healthy(before: App, after: RunningApp | None) -> Iterator[Case]:
    """A test case for each task of the preview: whether it still exists and is healthy."""
    health = CanaryHealth(before).ended(after.app if after else None, time.time())
    for task in before.healthy:
        why = health.trouble(task.id)
        yield Case(PREVIEW, "stays healthy", outcome=Outcome.FAILED if why else Outcome.PASSED, message=why)
