"""Stage ``render``: template and image to the app definition and the three jobs. Touches no cluster."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bgci.appdef.app_definition import group, instances, labels, normalise, service_ports
from bgci.appdef.jobs import JobSettings, default_template, definition_from_env, render_jobs
from bgci.appdef.marathon_schema import LATEST, rules_version
from bgci.appdef.names import artifact_names, template_candidates
from bgci.appdef.template import render_template
from bgci.appdef.validate import check_definition, require_valid
from bgci.engine.decisions import Release
from bgci.errors import BgciError, InvalidError, UsageError
from bgci.operations.context import Context
from bgci.operations.job_addresses import job_ca, job_pin, job_urls, require_confidential_jobs
from bgci.operations.job_login import login
from bgci.options import MarathonVersion, Settings, duration_text


def render(context: Context) -> tuple[Release, dict[str, dict[str, Any]]]:
    """The release and its three jobs, written to the artifacts. Raises InvalidError with every finding."""
    release = from_template(context)
    jobs = jobs_of(context, release)
    names = artifact_names(context.app_id, context.revision)
    documents: dict[str, Any] = {"definition": release.definition, **jobs}
    paths = [context.artifacts.write_json(names[key], document) for key, document in documents.items()]
    template = template_file(context)
    context.artifacts.manifest(
        app=context.app_id,
        revision=context.revision,
        image=release.image,
        files=paths,
        template=(template.name, template.read_bytes()),
    )
    for path in paths:
        context.console.info(f"wrote {path}")
    return release, jobs


def load(context: Context) -> Release:
    """The release that a goal is about: from the job's own environment, from the template, or as rendered before."""
    if context.settings.app_definition:
        return _release(context, definition_from_env(context.settings.app_definition), context.settings.image)
    if context.settings.image or context.settings.template:
        return from_template(context)
    file = context.artifacts.directory / artifact_names(context.app_id, context.revision)["definition"]
    if not file.exists():
        raise UsageError(
            f"there is no app definition: no --image is given and {file} does not exist",
            remedy="run `bgci render` first and keep its artifacts, or give --image",
        )
    try:
        definition = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidError(f"{file} cannot be read: {error}", remedy="run `bgci render` again") from None
    manifest = context.artifacts.read_json("manifest.json") or {}
    if file.name in manifest.get("redacted", ()):
        raise InvalidError(
            f"{file} has *** where the app definition has one of bgci's own credentials",
            remedy="give --image, so that it is rendered anew; better, give the app a secret of its own",
        )
    return _release(context, definition, str(manifest.get("image", "")))


def from_template(context: Context) -> Release:
    """Render the template for this image. Raises UsageError or InvalidError."""
    if not context.settings.image:
        raise UsageError("--image is missing", remedy="give --image, or set BGCI_IMAGE")
    file = template_file(context)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the template {file} cannot be read: {error}", remedy="check --template") from None
    raw = render_template(text, name=file.name, variables=variables(context))
    return _release(context, normalise(raw), context.settings.image)


def template_file(context: Context) -> Path:
    """The template to use. Raises UsageError naming every place where it was looked for."""
    if context.settings.template:
        return Path(context.settings.template)
    directory = Path(context.settings.template_dir)
    names = template_candidates(context.app_id, context.revision)
    found = next((directory / name for name in names if (directory / name).is_file()), None)
    if found is None:
        raise UsageError(
            f"no template for {context.app_id} in {directory.resolve()}: looked for {', '.join(names)}",
            remedy="write one (examples/testapp.template.json is a start), or name it with --template",
        )
    return found


def variables(context: Context) -> dict[str, Any]:
    """What a template may use."""
    pairs = [text.partition("=") for text in context.settings.set]
    wrong = [key for key, sign, _ in pairs if not sign or not key.isidentifier()]
    if wrong:
        raise UsageError(f"--set {wrong[0]} is not KEY=VALUE", remedy="write --set name=value; a name has no dashes")
    reserved = [key for key, _, _ in pairs if key in ("image", "app", "revision", "env")]
    if reserved:
        raise UsageError(f"--set cannot give {reserved[0]}: it has its own option", remedy=f"use --{reserved[0]}")
    return {
        **{key: value for key, _, value in pairs},
        "image": context.settings.image,
        "app": context.app_id,
        "revision": context.revision,
        "env": {name: os.environ[name] for name in context.settings.template_env if name in os.environ},
    }


def _release(context: Context, definition: Mapping[str, Any], image: str) -> Release:
    settings = context.settings
    findings = check_definition(
        definition,
        app_id=context.app_id,
        allow_no_health_check=settings.allow_no_health_check,
        marathon_version=_marathon_version(context),
    )
    what = f"The app definition of {context.app_id} {context.revision}"
    advice = [str(finding) for finding in require_valid(findings, what=what, strict=settings.strict)]
    for text in advice if context.result.get("advice") != advice else ():
        context.console.warn(f"Advice: {text}")
    context.result |= {"advice": advice} if advice else {}
    context.result["url"] = app_url(context.settings, definition)
    return Release(group(definition), context.revision, definition, image)


def app_url(settings: Settings, definition: Mapping[str, Any]) -> str:
    """Where users reach the app: as --service-url says, at its first virtual host, or at the first load balancer."""
    if settings.service_url:
        return re.sub("//[^/@]*@", "//", settings.service_url[0])
    marks, ports = labels(definition), service_ports(definition)
    host = marks.get("HAPROXY_0_VHOST", "").partition(",")[0].strip()
    if host:
        return f"{'https' if marks.get('HAPROXY_0_REDIRECT_TO_HTTPS', '').lower() == 'true' else 'http'}://{host}"
    balancer = urlsplit(next(iter(settings.marathon_lb_url), "")).hostname
    port = marks.get("HAPROXY_0_PORT") or (ports[0] if ports else 0)
    if not (balancer and port):
        return ""
    return f"http://{f'[{balancer}]' if ':' in balancer else balancer}:{port}"


def _marathon_version(context: Context) -> str:
    """The version whose rules hold: as --marathon-version says, else the cluster's own. `render` asks no cluster."""
    given, asked = context.settings.marathon_version, context.settings
    if given is not MarathonVersion.AUTO:
        return str(given.value)
    if context.command == "render" or not (asked.cluster_url or asked.marathon_url):
        return LATEST
    try:
        found = context.cluster.marathon.info().version
    except BgciError:  # the goal itself says what is wrong with the cluster
        return LATEST
    return rules_version(found)


def jobs_of(context: Context, release: Release) -> dict[str, dict[str, Any]]:
    """The three job definitions by goal."""
    template = default_template()
    if context.settings.job_template:
        try:
            template = Path(context.settings.job_template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the job template {context.settings.job_template} cannot be read: {error}",
                remedy="check --job-template",
            ) from None
    settings = replace(job_settings(context.settings, canary_size(context.settings, release)), **login(context))
    require_confidential_jobs(settings)
    return render_jobs(
        release.definition or {},
        app_id=context.app_id,
        revision=context.revision,
        image=release.image,
        settings=settings,
        template=template,
    )


def job_settings(settings: Settings, size: int) -> JobSettings:
    cluster_url, marathon_url = job_urls(settings)
    return JobSettings(
        image=settings.job_image,
        cluster_url=cluster_url,
        marathon_url=marathon_url,
        ca_cert=job_ca(settings),
        ca_sha256=job_pin(settings),
        insecure=settings.insecure,
        marathon_lb_urls=tuple(settings.job_marathon_lb_url),
        strategy=settings.strategy.value,
        wave=settings.wave,
        timeout=duration_text(inner_timeout(settings.timeout)),
        drain_timeout=duration_text(settings.drain_timeout),
        on_drain_timeout=settings.on_drain_timeout.value,
        instances=size,
        allow_no_health_check=settings.allow_no_health_check,
    )


def inner_timeout(timeout: float) -> float:
    """Seconds for the goal inside a job, so that the job can still say how it ended before we stop waiting."""
    return round(max(timeout * 0.8, timeout - 15), 3)


def canary_size(settings: Settings, release: Release) -> int:
    """How many canary instances: --percent of the target, rounded up, or --instances."""
    target = instances(release.definition or {})
    size = -(-target * settings.percent // 100) if settings.percent else settings.instances
    if size > target:
        raise UsageError(
            f"a canary of {size} instances is more than the {target} of the definition",
            remedy="give fewer --instances, or --percent",
        )
    return size
