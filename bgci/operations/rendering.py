"""Renders the release from template and image, or reads it from the artifacts, and renders its jobs.

Contacts no cluster.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os.path import lexists
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bgci.appdef.app_definition import as_list, as_mapping, group, instances, labels, normalise, service_ports
from bgci.appdef.haproxy_values import is_true
from bgci.appdef.image import require_image_used
from bgci.appdef.job_document import VARIABLE, JobDocument, decode_job
from bgci.appdef.jobs import JobSettings, job_deadline, render_jobs
from bgci.appdef.marathon_schema import LATEST, rules_version
from bgci.appdef.names import artifact_names, template_candidates
from bgci.appdef.template import render_template
from bgci.appdef.validate import check_definition, other_document, require_valid
from bgci.bounded import file_bytes, json_value, reason
from bgci.engine.decisions import Release
from bgci.errors import BgciError, InvalidError, UsageError
from bgci.operations.balancer_settings import config_findings
from bgci.operations.canary_size import size_of
from bgci.operations.context import Context, app_id_of, revision_of, text_of
from bgci.operations.job_addresses import job_connection, require_confidential_jobs
from bgci.operations.job_image import job_artifact, job_image
from bgci.operations.job_login import login
from bgci.operations.suites import preview_suite, suite_file, suite_text
from bgci.operations.variables import variables
from bgci.options import Settings, job_options, option_value
from bgci.redaction import MASK, redacted_json
from bgci.reporting.artifacts import sha256

FORMING = ("job_image", "job_artifact", "job_template", "job_service_account", "job_secret")


@dataclass(frozen=True)
class Rendered:
    """The release and its three jobs by goal."""

    release: Release
    jobs: Mapping[str, Mapping[str, Any]]


def render(context: Context) -> Rendered:
    """The release and its jobs, written to the artifacts. Raises InvalidError with every finding.

    Without an image or a template the app definition is that of the artifacts, for example of a release to another
    cluster; only the jobs are rendered again.
    """
    again = not (context.settings.image or context.settings.template) and _definition_file(context).exists()
    # Read once: it can be a pipe, and what the manifest names must be what was rendered.
    template = None if again or not context.settings.image else read_template(context.settings)
    release = _rendered_before(context) if again else from_template(context, template=template)
    jobs = jobs_of(context, release)
    names = artifact_names(context.app_id, context.revision)
    documents: dict[str, Any] = {"definition": release.definition, **{goal: masked(job) for goal, job in jobs.items()}}
    paths = [context.artifacts.write_json(names[key], document) for key, document in documents.items()]
    context.artifacts.manifest(
        app=context.app_id,
        revision=context.revision,
        image=release.image,
        files=paths,
        template=(template[0].name, template[1]) if template else None,
    )
    for path in paths:
        context.console.info(f"Wrote {path}")
    return Rendered(release, jobs)


def masked(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job without secrets. Masks a compressed document as a whole, because redaction cannot search it."""
    run = job["run"]
    text = str(run.get("env", {}).get(VARIABLE, "{"))
    if text.startswith("{"):
        return job
    plain = json.dumps(decode_job(text).definition)
    return job if redacted_json(plain) == plain else {**job, "run": {**run, "env": {**run["env"], VARIABLE: MASK}}}


def load(context: Context) -> Release:
    """The release of a goal: from the document of the job, from the template, or from the artifacts.

    Called once per command: otherwise a file that changes meanwhile could be promoted without a canary.
    """
    if context.job:
        return _release(context, context.settings, context.job.definition, context.job.image)
    if context.settings.image or context.settings.template:
        return from_template(context)
    return _rendered_before(context)


def _definition_file(context: Context) -> Path:
    return context.artifacts.directory / artifact_names(context.app_id, context.revision)["definition"]


def _rendered_before(context: Context) -> Release:
    """The release of the artifacts. Raises UsageError without one, InvalidError when it was changed after `render`."""
    file = _definition_file(context)
    if not file.exists():
        raise UsageError(
            f"The app definition is missing: --image is not given, and {file} does not exist.",
            remedy="Run `bgci render` first and keep its artifacts, or give --image.",
        )
    try:
        content = context.artifacts.read_bytes(file.name)
        definition = json_value(content)
        if not isinstance(definition, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise InvalidError(f"{file} cannot be read: {reason(error)}.", remedy="Run `bgci render` again.") from None
    manifest = as_mapping(context.artifacts.read_json("manifest.json"))
    if as_mapping(manifest.get("files")).get(file.name) != sha256(content):
        raise InvalidError(
            f"{file} was changed after `bgci render`: manifest.json has another SHA-256 for it, or none.",
            remedy="Keep the artifacts directory as a whole, or give --image to render again.",
        )
    if file.name in as_list(manifest.get("redacted")):
        raise InvalidError(
            f"{file} has *** in place of one of bgci's own credentials.",
            remedy="Give --image to render it again; better, give the app a separate secret.",
        )
    return _release(context, context.settings, definition, str(manifest.get("image", "")))


def known_group(context: Context) -> str:
    """The deployment group of the definition; empty without a definition, which a rollback does not need."""
    try:
        return load(context).group
    except BgciError:
        return ""


def from_template(
    context: Context, settings: Settings | None = None, template: tuple[Path, bytes] | None = None
) -> Release:
    """Render the template for this image. settings: default: the command's. template: file and content; default: read
    now. Raises UsageError or InvalidError."""
    settings = settings or context.settings
    if not settings.image:
        raise UsageError("--image is missing.", remedy="Give --image, or set BGCI_IMAGE.")
    file, content = template or read_template(settings)
    text = content.decode("utf-8").replace("\r\n", "\n")
    values = variables(settings)
    raw = render_template(text, name=file.name, variables=values)
    if kind := other_document(raw):
        require_valid([kind], what=f"The template {file.name}")
    require_image_used(raw, text, name=file.name, variables=values, image=settings.image)
    return _release(context, settings, normalise(raw), settings.image)


def read_template(settings: Settings) -> tuple[Path, bytes]:
    """The template's file and its content, which is UTF-8. Raises UsageError."""
    file = template_file(settings)
    try:
        content = file_bytes(file)
        content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"The template {file} cannot be read: {reason(error)}.", remedy="Check --template.") from None
    return file, content


def template_file(settings: Settings) -> Path:
    """The template to use. Raises UsageError with every searched place."""
    if settings.template:
        return Path(settings.template)
    directory = Path(settings.template_dir)
    names = template_candidates(app_id_of(settings), revision_of(settings))
    found = next((directory / name for name in names if lexists(directory / name)), None)
    if found is None:
        raise UsageError(
            f"No template for {app_id_of(settings)} in {directory.resolve()}: looked for {', '.join(names)}.",
            remedy="Write one (examples/testapp.template.json is a start), or name it with --template.",
        )
    return found


def _release(context: Context, settings: Settings, definition: Mapping[str, Any], image: str) -> Release:
    app_id, revision = app_id_of(settings), revision_of(settings)
    findings = check_definition(
        definition,
        app_id=app_id,
        allow_no_health_check=settings.allow_no_health_check,
        marathon_version=marathon_version(context),
    )
    if all(finding.advice for finding in findings):
        findings += config_findings(settings, definition)
    what = f"The app definition of {app_id} {revision}"
    advice = tuple(str(finding) for finding in require_valid(findings, what=what, strict=settings.strict))
    for text in advice:
        context.console.warn(f"Advice: {text}")
    context.result = replace(context.result, advice=advice or None, url=app_url(settings, definition))
    return Release(group(definition), revision, definition, image)


def app_url(settings: Settings, definition: Mapping[str, Any]) -> str:
    """The app's URL for users: --service-url, its first virtual host, or the first load balancer."""
    if settings.service_url:
        return re.sub("//[^/@]*@", "//", settings.service_url[0])
    marks, ports = labels(definition), service_ports(definition)
    host = marks.get("HAPROXY_0_VHOST", "").partition(",")[0].strip()
    if host:
        return f"{'https' if is_true(marks.get('HAPROXY_0_REDIRECT_TO_HTTPS', '')) else 'http'}://{host}"
    balancer = urlsplit(next(iter(settings.marathon_lb_url), "")).hostname
    port = marks.get("HAPROXY_0_PORT") or (ports[0] if ports else 0)
    if not (balancer and port):
        return ""
    return f"http://{f'[{balancer}]' if ':' in balancer else balancer}:{port}"


def marathon_version(context: Context) -> str:
    """The Marathon version for the rules: --marathon-version, else the cluster's. `render` contacts no cluster."""
    given, asked = context.settings.marathon_version, context.settings
    if given != "auto":
        return given
    if context.command == "render" or not (asked.cluster_url or asked.marathon_url):
        return LATEST
    try:
        found = context.cluster.marathon.info().version
    except BgciError:  # the goal reports the problem of the cluster
        return LATEST
    return rules_version(found)


def jobs_of(context: Context, release: Release) -> dict[str, dict[str, Any]]:
    """The three job definitions by goal."""
    settings, template = context.settings, None
    if settings.job_template:
        template = text_of(Path(settings.job_template), "The job template", "--job-template")
    document = document_of(context, release)
    deadline = job_deadline(inner_timeout(settings.timeout), settings.drain_timeout)
    image = job_image(settings)
    job = JobSettings(image=image, artifact=job_artifact(settings), deadline_seconds=deadline, **login(context))
    require_confidential_jobs(settings, logs_in=bool(job.secret_env or job.env))
    return render_jobs(document, settings=job, template=template)


def document_of(context: Context, release: Release) -> JobDocument:
    """The document of the release's jobs, from the settings of this command."""
    settings, definition = context.settings, release.definition or {}
    size_of(settings).of(instances(definition))  # raises for too large a canary
    file = suite_file(context) if preview_suite(context, release.image) else None
    known = {key: value for key, value in variables(settings).items() if key != "env"}
    return JobDocument(
        app=context.app_id,
        revision=context.revision,
        image=release.image,
        definition=definition,
        options={**job_goal_options(settings), **job_connection(settings)},
        published=published_options(settings),
        suite=suite_text(file) if file else "",
        variables={**known, "image": release.image} if file else {},
    )


def job_goal_options(settings: Settings) -> dict[str, Any]:
    """The options of the goal inside the job. Its timeout is shorter than that of the following command."""
    return job_options(replace(settings, timeout=inner_timeout(settings.timeout)))


def published_options(settings: Settings) -> dict[str, str]:
    """The options that define the jobs themselves: another value requires new jobs."""
    return {name: str(option_value(settings, name)) for name in FORMING}


def inner_timeout(timeout: float) -> float:
    """Seconds for the goal inside a job, so that the job can report its end before the command stops waiting."""
    return round(max(timeout * 0.8, timeout - 15), 3)
