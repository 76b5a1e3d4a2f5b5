"""Which job definitions Metronome refuses: its published schema, then its rules over several fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.findings import Finding, at
from bgci.appdef.marathon_schema import load_schema
from bgci.appdef.shape import shape_findings

Job = Mapping[str, Any]
# A duration is a 64-bit number of nanoseconds (scala.concurrent.duration.Duration).
_MAX_SECONDS = 9_223_372_036
NEVER = "NEVER"  # the restart policy of each job of bgci


def check_job(job: Job, *, job_id: str) -> list[Finding]:
    """Everything that Metronome refuses, and another id than ``job_id``."""
    findings = list(shape_findings(job, load_schema("metronome-job")))
    if job.get("id") != job_id:
        remedy = 'Write "id": "{{ id }}": the CI stages look for that name'
        findings.append(Finding("$.id", f"is not {job_id!r}", remedy))
    if not findings:
        findings = [finding for rule in RULES.values() for finding in rule(job)]
    return findings


def _something_to_run(job: Job) -> Iterator[Finding]:
    run = job["run"]
    if "docker" in run and "ucr" in run:
        yield Finding("$.run.ucr", "cannot be combined with docker", "Keep one of the two")
    if "cmd" not in run and not run.get("docker", {}).get("image") and "ucr" not in run:
        yield Finding("$.run", "has no command and no image", "Add cmd, docker.image or ucr")


def _numbers(job: Job) -> Iterator[Finding]:
    run = job["run"]
    restart, path = run.get("restart", {}), "$.run.restart.activeDeadlineSeconds"
    durations = {path: restart.get("activeDeadlineSeconds"), "$.run.maxLaunchDelay": run.get("maxLaunchDelay")}
    durations["$.run.taskKillGracePeriodSeconds"] = run.get("taskKillGracePeriodSeconds")
    for place, seconds in durations.items():
        if seconds is not None and abs(seconds) > _MAX_SECONDS:
            yield Finding(place, f"is {seconds}", f"Write {_MAX_SECONDS} or less")
    if restart.get("activeDeadlineSeconds", 0) < 0:
        yield Finding(path, "is negative", "Write 0 or more")
    if run.get("gpus", 0) > 0 and "docker" in run:
        yield Finding("$.run.gpus", "are not possible with docker", "Use ucr, or remove gpus")
    if run.get("gpus", 0) >= 2**31:
        yield Finding("$.run.gpus", f"is {run['gpus']}", "Write a smaller number")


def _placement(job: Job) -> Iterator[Finding]:
    if "constraints" not in job["run"].get("placement", {"constraints": ()}):
        yield Finding("$.run.placement.constraints", "is missing", "Add it, or remove placement")


def _volumes(job: Job) -> Iterator[Finding]:
    for index, volume in enumerate(job["run"].get("volumes", ())):
        path = f"$.run.volumes[{index}]"
        if set(volume) not in ({"containerPath", "hostPath", "mode"}, {"containerPath", "secret"}):
            remedy = "Write containerPath, hostPath and mode, or containerPath and secret"
            yield Finding(path, "is neither a host volume nor a secret", remedy)
        elif "secret" in volume and "docker" in job["run"]:
            yield Finding(f"{path}.secret", "is not possible with docker", "Use ucr, or put the secret into env")


def _secrets(job: Job) -> Iterator[Finding]:
    run, used = job["run"], set()
    for name, value in run.get("env", {}).items():
        if isinstance(value, Mapping) and "secret" not in value:
            yield Finding(at(at("$.run.env", name), "secret"), "is missing", "Add the secret's name")
        elif isinstance(value, Mapping):
            used.add(value["secret"])
    used |= {volume["secret"] for volume in run.get("volumes", ()) if "secret" in volume}
    declared = run.get("secrets", {})
    for name, secret in declared.items():
        if not secret.get("source"):
            yield Finding(at(at("$.run.secrets", name), "source"), "is missing or empty", "Write the secret's path")
    for name in sorted(used - set(declared)):
        yield Finding("$.run.secrets", f"lacks {name!r}, which is used", "Declare it with its source")
    for name in sorted(set(declared) - used):
        yield Finding("$.run.secrets", f"declares {name!r}, which nothing uses", "Use it in env, or remove it")


def _networks(job: Job) -> Iterator[Finding]:
    run, path = job["run"], "$.run.networks"
    networks = run.get("networks", ())
    modes = {network["mode"] for network in networks}
    names = [network["name"] for network in networks if "name" in network]
    if len(networks) > 1 and (modes != {"container"} or "docker" in run):
        yield Finding(path, "has several networks", "Keep one; only ucr takes several container networks")
    if modes - {"host"} and not {"docker", "ucr"} & set(run):
        yield Finding(path, "has a network for containers", "Add docker or ucr, or use mode host")
    if len(set(names)) < len(names):
        yield Finding(path, "has a network twice", "Keep one")
    for index, network in enumerate(networks):
        mode, place = network["mode"], f"{path}[{index}]"
        if not network.get("name") if mode == "container" else "name" in network:
            message = "is missing" if mode == "container" else f"is not possible with mode {mode}"
            yield Finding(f"{place}.name", message, "Name the network of mode container, and no other one")
        if mode == "host" and network.get("labels"):
            yield Finding(f"{place}.labels", "are not possible with mode host", "Remove them")


def _started_by_others(job: Job) -> Iterator[Finding]:
    """bgci starts its jobs itself, and sends neither schedules nor dependencies. Metronome refuses unknown ones."""
    for field in ("schedules", "dependencies"):
        if job.get(field):
            yield Finding(f"$.{field}", "is not empty, but bgci starts this job itself", "Remove it")


def _started_once(job: Job) -> Iterator[Finding]:
    """Metronome would start a process again that ended on purpose: after a rollback it would promote once more."""
    policy = job["run"].get("restart", {}).get("policy", NEVER)
    if policy != NEVER:
        message = f"is {policy}: Metronome would repeat a goal that has failed, for example after its rollback"
        remedy = f'Write "policy": "{NEVER}"; a run that was killed is finished by the same bgci command'
        yield Finding("$.run.restart.policy", message, remedy)


def without_restart(job: Job) -> dict[str, Any]:
    """The job with the restart policy NEVER."""
    run = job["run"]
    if run.get("restart", {}).get("policy", NEVER) == NEVER:
        return dict(job)
    return {**job, "run": {**run, "restart": {**run["restart"], "policy": NEVER}}}


# The place in Metronome's sources, and the rule.
RULES = {
    "JobRunSpec.jobRunSpecHasSomethingToRun, jobRunSpecOnlyHasOneThingToRun": _something_to_run,
    "DurationFormat, FiniteDurationFormat; JobRunSpec.gpusNotValidWithDocker": _numbers,
    "PlacementSpecFormat": _placement,
    "VolumeFormat; JobRunSpec.fileBasedSecretsAreUcrOnly": _volumes,
    "JobRunSpec.allSecretsAreDefinedAndUsed; SecretDef": _secrets,
    "JobRunSpec.networkingValidation; Network.validNetworkDefinition": _networks,
    "JobSpec.validJobSpec: schedules; JobSpec.validateDependencies": _started_by_others,
    "JobRunExecutorActor.continueOrBecomeFailing": _started_once,
}
