"""The checks of `bgci doctor` in their order. Each reads the cluster and passes the values to a pure judgement."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from bgci.appdef.app_definition import group
from bgci.appdef.names import job_secret, parse_app
from bgci.dcos.balancer_state import every_endpoint
from bgci.dcos.examine import certificate_end, clock_offset, metronome_version, require_trusted, secret_there
from bgci.dcos.http_failure import HttpFailure, failure_of
from bgci.dcos.running_app import RunningApp, endpoints
from bgci.dcos.tls import CA_VARIABLES, is_loopback, verification
from bgci.doctor import access, balancer_labels, running_apps
from bgci.doctor.balancers import load_balancer
from bgci.doctor.finding import CheckResult, Status, failed, failure, ok, skipped, warning
from bgci.doctor.rights import grant_of, known_permissions
from bgci.engine.observation import Serving
from bgci.engine.ownership import Claim, same_group
from bgci.errors import BgciError, ConflictError, DeniedError, UnavailableError, UsageError
from bgci.operations.context import Context
from bgci.operations.exclusion import lock_row, other_locks
from bgci.operations.job_image import REMEDY, job_image
from bgci.operations.job_login import way
from bgci.operations.rendering import from_template, template_file
from bgci.options import Settings

Definition = dict[str, Any]
T = TypeVar("T", bound=Callable[..., Iterable[CheckResult]])
SAMPLE = "doctor"  # revision and image for the template if none is given


class Check(NamedTuple):
    """One check. needs: other checks that must have succeeded. of_app: only with --app."""

    name: str
    needs: tuple[str, ...]
    of_app: bool
    run: Callable[[Examination], Iterable[CheckResult]]


CHECKS: list[Check] = []  # in their order


def check(name: str, *needs: str, of_app: bool = False) -> Callable[[T], T]:
    """Register the function as a check."""

    def register(function: T) -> T:
        CHECKS.append(Check(name, needs, of_app, function))
        return function

    return register


class Examination:
    """One run of all checks. A failed one stops only those that need it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self.checks: list[CheckResult] = []
        self._failed: dict[str, str] = {}  # by check: why the checks that need it are skipped

    def run(self) -> list[CheckResult]:
        """The rows of all checks. Raises only AbortedError."""
        for one in CHECKS:
            if self.settings.app or not one.of_app:
                self._run(one)
        return self.checks

    def _run(self, one: Check) -> None:
        why = next((self._failed[name] for name in one.needs if name in self._failed), "")
        if why:
            self._failed[one.name] = why
            self.checks.append(skipped(one.name, f"not checked: {why}"))
            return
        found: list[CheckResult] = []
        try:
            for row in one.run(self):  # a failure keeps the earlier results
                found.append(row)
        except HttpFailure as error:
            found.append(failed(one.name, error.unavailable(f"{one.name} fails")))
        except Exception as error:  # a failed check must not stop the others
            found.append(replace(failed(one.name, error), command=grant_of(error)))
        self.checks += found
        bad = next((row for row in found if row.status is Status.FAILURE), None)
        if bad:
            self._failed[one.name] = f"{bad.name} failed"
        elif any(row.status is Status.SKIPPED for row in found) and one.name == "template":
            self._failed[one.name] = "no template is known"

    # -- the connection ---------------------------------------------------------------------------------------------

    @cached_property
    def url(self) -> str:
        return self.settings.cluster_url or self.settings.marathon_url

    @check("url")
    def _url(self) -> Iterator[CheckResult]:
        if not self.url:
            raise UsageError(
                "--cluster-url is missing.", remedy="Give --cluster-url (DC/OS) or --marathon-url (Marathon alone)."
            )
        yield ok("url", self.url)

    @check("tls", "url")
    def _tls(self) -> Iterator[CheckResult]:
        parts = urlsplit(self.url)
        if parts.scheme != "https":
            if is_loopback(parts.hostname or ""):
                yield ok("tls", "plain http, to this machine itself")
            else:
                yield warning(
                    "tls", "plain http: others on the network can read the traffic", "Write https:// in the URL."
                )
            return
        end = certificate_end(self.url)
        if end is None:
            yield skipped("tls", "only the proxy sees the certificate; each request verifies it")
            return
        found = access.certificate(end, self._trust(), datetime.now(timezone.utc), verified=not self.settings.insecure)
        if found.status is not Status.FAILURE and not self.settings.insecure:
            require_trusted(self.url, verification(self.context.ca_cert, insecure=False))
        yield found

    def _trust(self) -> str:
        if self.settings.ca_sha256:
            return "verified by the cluster's own CA (--ca-sha256)"
        if self.context.ca_cert:
            return "verified by --ca-cert"
        name = next((name for name in CA_VARIABLES if os.environ.get(name)), "")
        return f"verified by {name}" if name else "verified by the usual public CAs"

    @check("cluster", "url")
    def _cluster(self) -> Iterator[CheckResult]:
        cluster = self.context.cluster
        kind = {"enterprise": "DC/OS Enterprise", "open": "DC/OS (open)", "plain": "Marathon without DC/OS"}
        yield ok("cluster", f"{kind.get(cluster.variant, 'DC/OS of unknown variant')} {cluster.version}".rstrip())

    @check("clock", "cluster")
    def _clock(self) -> Iterator[CheckResult]:
        root, marathon = self.context.cluster.http, self.context.cluster.marathon.http
        offset = clock_offset(root, "/dcos-metadata/dcos-version.json") if root else clock_offset(marathon, "/ping")
        yield access.clock(*offset) if offset else skipped("clock", "the cluster sends no Date header")

    @check("login", "cluster")
    def _login(self) -> Iterator[CheckResult]:
        """A login if there are credentials, and whether the cluster accepts it, or needs one."""
        headers: dict[str, str] = {}
        self.context.cluster.login(headers)
        try:
            self.context.cluster.marathon.http.text("/ping")
        except DeniedError as error:
            failure = failure_of(error)
            if failure is None or failure.status == 401:
                raise
        except (UnavailableError, HttpFailure):
            pass  # the check of Marathon reports it
        yield access.session(self.context.credentials, headers.get("Authorization", ""), time.time())

    @check("marathon", "login")
    def _marathon(self) -> Iterator[CheckResult]:
        marathon = self.context.cluster.marathon
        try:
            info = marathon.info()
        except DeniedError as error:
            failure = failure_of(error)
            if failure is None or not failure.is_api:
                raise
            yield ok("marathon", f"{marathon.http.base_url} answers; its version is not readable by this account")
            return
        leader = "" if info.has_leader else ", without a leader"
        yield ok("marathon", f"{marathon.http.base_url}: version {info.version or 'unknown'}{leader}")

    @check("metronome", "login")
    def _metronome(self) -> Iterator[CheckResult]:
        metronome = self.context.cluster.metronome
        if self.settings.via == "direct":
            yield ok("metronome", "not needed with --via direct")
            return
        if metronome is None or not metronome.available():
            if self.settings.via == "job":
                raise UsageError("--via job needs Metronome; this cluster has none.", remedy="Use --via direct.")
            yield ok("metronome", "not available: goals run in this process, as with --via direct")
            return
        yield ok("metronome", f"{metronome.http.base_url}: version {metronome_version(metronome) or 'unknown'}")

    @cached_property
    def via_job(self) -> bool:
        """Whether goals run as DC/OS Jobs."""
        metronome = self.context.cluster.metronome
        return self.settings.via != "direct" and metronome is not None and metronome.available()

    # -- permissions -----------------------------------------------------------------------------------------------

    @cached_property
    def secret(self) -> str:
        """The path of the secret with the job's service account; empty without one."""
        if not (self.settings.app and self.via_job and way(self.context) == "secret"):
            return ""
        return self.settings.job_secret.strip("/") or job_secret(self.context.app_id)

    @check("permissions", "marathon")
    def _permissions(self) -> Iterator[CheckResult]:
        cluster = self.context.cluster
        if cluster.variant != "enterprise":
            yield ok("permissions", "none: on this cluster every account can do everything")
            return
        if not self.settings.app:
            yield skipped("permissions", "permissions are per app: give --app")
            return
        yield from known_permissions(self.context, self.visible, via_job=self.via_job, secret=self.secret)

    @check("secret", "metronome")
    def _secret(self) -> Iterator[CheckResult]:
        http = self.context.cluster.http
        if not self.secret or http is None:
            yield ok("secret", "not needed: no job logs in with a secret")
            return
        wrong = access.space(self.secret, self.context.app_id)
        if wrong:
            yield wrong
            return
        there = secret_there(http, self.secret)
        if there:
            yield ok("secret", f"{self.secret} exists, and the jobs of {self.context.app_id} can use it")
        elif there is None:
            yield skipped("secret", f"{self.secret}: not readable by this account; only the job needs it")
        else:
            found = f"the secret {self.secret} does not exist: the job cannot log in"
            remedy = "Store the job's service account there, or name another with --job-secret."
            command = f"dcos security secrets create-sa-secret --strict <private-key.pem> <account> {self.secret}"
            yield failure("secret", ConflictError, found, remedy, command)

    @check("job-image", "metronome")
    def _job_image(self) -> Iterator[CheckResult]:
        if not self.via_job:
            yield ok("job-image", "not needed: no goal runs as a job")
        elif self.settings.job_image or self.settings.job_artifact:
            artifact = f", with bgci from {self.settings.job_artifact}" if self.settings.job_artifact else ""
            yield ok("job-image", f"jobs run in {job_image(self.settings)}{artifact}")
        else:
            yield warning("job-image", "--job-image is missing: `bgci publish` ends with exit code 2", REMEDY)

    # -- the load balancers -----------------------------------------------------------------------------------------

    @check("load-balancer")
    def _load_balancers(self) -> Iterator[CheckResult]:
        for balancer in self.context.balancers:
            try:
                yield load_balancer(balancer.url, balancer.about())
            except BgciError as error:
                yield failed("load-balancer", error)

    # -- the template and the apps ------------------------------------------------------------------------------------

    @cached_property
    def definition(self) -> Definition:
        """The app definition of a release of the template. Raises InvalidError or UsageError."""
        return dict(from_template(self.context, self._stand_in()).definition or {})

    def _stand_in(self) -> Settings:
        """The settings, with a revision and an image if none are given, because a template can need them."""
        given = self.settings
        return replace(given, revision=given.revision or SAMPLE, image=given.image or SAMPLE)

    @check("template")
    def _template(self) -> Iterator[CheckResult]:
        if not self.settings.app:
            yield skipped("template", "give --app to check its template")
            return
        try:
            file = template_file(self._stand_in())
        except UsageError as error:
            yield skipped("template", error.message, error.remedy)
            return
        yield ok("template", f"{file}: valid, in the group {group(self.definition)}")

    @cached_property
    def visible(self) -> list[RunningApp]:
        """Every app that the account can read, with its tasks."""
        return self.context.cluster.marathon.apps()

    @cached_property
    def own(self) -> list[RunningApp]:
        """Our running apps, and the other apps of the group."""
        wanted = group(self.template or {})
        found = [app for base in self._bases for app in running_apps.of_app(self.visible, base)]
        names = {app.group for app in found} | {wanted}
        found += [app for app in self.visible if any(same_group(app.group, name) for name in names)]
        return list({app.id: app for app in found}.values())

    @property
    def _bases(self) -> list[str]:
        """The app's id, and its earlier one with --replaces."""
        replaces = self.settings.replaces
        return [self.context.app_id, *([parse_app(replaces)] if replaces else [])]

    @property
    def template(self) -> Definition | None:
        """The template's definition; None without a valid one."""
        return None if "template" in self._failed else self.definition

    @property
    def reached(self) -> bool:
        """Whether the apps could be read."""
        return "apps" not in self._failed

    @check("apps", "marathon")
    def _apps(self) -> Iterator[CheckResult]:
        if not self.settings.app:
            yield from running_apps.everything(self.visible, time.time())
            return
        yield ok("apps", f"readable apps: {len(self.visible)}, of {self.context.app_id}: {len(self.own)}")

    @property
    def own_id(self) -> str:
        """The app's id, empty without one."""
        return self.context.app_id if self.settings.app else ""

    @check("labels", "marathon")
    def _labels(self) -> Iterator[CheckResult]:
        yield from balancer_labels.labels_of(self.visible, self.own_id)

    @check("marathon-lb", "marathon", "load-balancer")
    def _follows(self) -> Iterator[CheckResult]:
        wanted = every_endpoint(self.visible)
        censuses = [balancer.census(wanted) for balancer in self.context.balancers]
        yield from balancer_labels.follows(self.visible, censuses, self.own_id, time.time())

    @check("group", "apps", "template", of_app=True)
    def _group(self) -> Iterator[CheckResult]:
        claim = Claim(self.context.app_id, group(self.definition), replaces=self._bases[-1])
        yield running_apps.taken_group(self.visible, claim)

    @check("ports", "apps", "template", of_app=True)
    def _ports(self) -> Iterator[CheckResult]:
        yield from running_apps.taken_ports(self.visible, self.context.app_id, self.definition)

    @check("state", "apps", of_app=True)
    def _running(self) -> Iterator[CheckResult]:
        wanted = group(self.template or {})
        yield running_apps.state(self.context.app_id, self.own)
        yield from running_apps.start_times(self.own, time.time())
        yield from running_apps.baselines(self.context.app_id, wanted, self.own)
        yield from running_apps.virtual_addresses(self.context.app_id, self.own)

    @check("lock", "apps", of_app=True)
    def _locks(self) -> Iterator[CheckResult]:
        """Other commands that change the app now."""
        for lock in other_locks(self.context):
            row = lock_row(lock)
            found = f"{row['owner']} changes {self.context.app_id} since {row['since']}"
            remedy = f"If its process was killed, its lock {lock.id} ends at {row['until']}."
            yield warning("lock", found, f"Wait for it to end. {remedy}")

    @check("rotation", "state", "load-balancer", of_app=True)
    def _rotation(self) -> Iterator[CheckResult]:
        """Whether the load balancers have every healthy task. A drained task of the baseline in MAINT counts too."""
        for app in (app for app in self.own if app.group):
            healthy = app.app.healthy
            wanted = endpoints(self.own, app.group)
            for balancer in self.context.balancers:
                seen = balancer.read(wanted)
                lost = [task for task in healthy if seen.server(task.id).serving is Serving.ABSENT]
                if lost and not seen.problem:
                    found = f"{balancer.url} does not have {len(lost)} of {len(healthy)} healthy tasks of {app.id}"
                    remedy = "Check its option --group against the app's HAPROXY_GROUP, and its access to Marathon."
                    yield warning("rotation", found, remedy)
