"""The load balancer's settings for a release, checked before anything is created, and compared with the baseline's."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from bgci.appdef.balancer_changes import balancer_changes, freezing_change, lost_ports
from bgci.appdef.findings import Finding, require_valid
from bgci.appdef.haproxy_labels import check_labels
from bgci.dcos.config_check import ConfigCheck, find_program
from bgci.dcos.running_app import RunningApp
from bgci.engine.decisions import Release
from bgci.errors import BgciError, ConflictError, UnavailableError, UsageError
from bgci.operations.context import Context
from bgci.options import Settings

# marathon-lb with --haproxy-map keeps its virtual hosts and app ids in these files.
_MAPS = ("domain2backend.map", "app2backend.map")


def config_findings(settings: Settings, definition: Mapping[str, Any]) -> list[Finding]:
    """The errors of this machine's HAProxy in the app's part of a configuration; needs no load balancer.

    None without the program. Raises UsageError if --check-config requires it, UnavailableError if it fails.
    """
    check = _program(settings)
    return _run(check, settings, definition) if check else []


def require_servable(context: Context, release: Release, running: Sequence[RunningApp]) -> None:
    """Refuse a release that the load balancers cannot serve, and report the changes of their settings.

    running: our apps. Raises InvalidError for labels that are invalid in the live configurations, ConflictError for a
    service port that would be lost and for settings in conflict with the baseline's.
    """
    definition = release.definition
    if definition is None:
        return
    _check_live(context, release, definition)
    others = [app for app in running if app.revision != release.revision]
    baseline = min(others, key=lambda app: app.app.started_at, default=None)
    if baseline is None:
        return
    _require_ports(context, release, baseline.definition, definition)
    changes = balancer_changes(baseline.definition, definition)
    context.result = replace(context.result, balancer_changes=tuple(map(asdict, changes)))
    if changes and context.settings.dry_run:
        context.plan("The load balancer changes after the promotion.", "\n".join(map(str, changes)))
    elif changes:
        context.console.info("The load balancer changes after the promotion:")
        for change in changes:
            context.console.info(f"  {change}")


def _check_live(context: Context, release: Release, definition: Mapping[str, Any]) -> None:
    check = _program(context.settings)
    for balancer in context.balancers:
        try:
            live, version = balancer.config(), balancer.version()
        except BgciError:
            if context.settings.check_config == "always":
                raise
            continue  # the goal reports the load balancer that cannot be read
        mapped = any(name in live for name in _MAPS)
        labels = check_labels(definition, haproxy_map=True) if mapped else ()
        findings: list[Finding] = [one for one in labels if not one.advice]
        if check and not findings:
            findings = _run(check, context.settings, definition, live=live, replica=balancer.url, version=version)
        require_valid(findings, what=f"The app definition of {context.app_id} {release.revision}")


def _run(check: ConfigCheck, settings: Settings, definition: Mapping[str, Any], **live: str) -> list[Finding]:
    try:
        return check.findings(definition, **live)
    except (OSError, subprocess.SubprocessError) as error:
        if settings.check_config == "auto":
            return []
        raise UnavailableError(
            f"The program haproxy cannot be run: {error}.", remedy="Repair it, or give --check-config auto."
        ) from None


def _program(settings: Settings) -> ConfigCheck | None:
    if settings.check_config == "never":
        return None
    check = find_program()
    if check is None and settings.check_config == "always":
        raise UsageError(
            "--check-config always needs the program haproxy, which is not in PATH.",
            remedy="Install the package haproxy, or give --check-config auto.",
        )
    return check


def _require_ports(
    context: Context, release: Release, baseline: Mapping[str, Any], definition: Mapping[str, Any]
) -> None:
    lost = lost_ports(baseline, definition)
    if lost and not context.settings.allow_port_change:
        ports = ", ".join(map(str, lost))
        raise ConflictError(
            f"{context.app_id} serves on port {ports}, but {release.revision} does not: the load balancer would "
            "refuse connections there after the promotion.",
            remedy=f"Keep the service port {ports} in the template, or accept the change with --allow-port-change.",
        )
    label = freezing_change(baseline, definition)
    if label:
        raise ConflictError(
            f"{context.app_id} has the label {label}, but {release.revision} has another number of ports: marathon-lb "
            "would fail while both run, and update no app of the whole cluster.",
            remedy=f"Release a revision without {label} first, and change the ports in the next one.",
        )
