"""All settings: name, type, default and help of each. A command takes the settings that it names.

Order: flag > environment (``BGCI_<OPTION>``) > ``bgci.toml`` > default.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import MutableMapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from functools import cache
from typing import Any, get_origin, get_type_hints

import typer

from bgci.durations import duration_text, parse_duration
from bgci.engine.strategies import STRATEGIES
from bgci.errors import UsageError

FILE = "bgci.toml"
FROM_FILE = "DEFAULT_MAP"  # the origin of a setting, as click calls it
_SOURCES = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment", "DEFAULT_MAP": FILE, "DEFAULT": "default"}


class Via(str, Enum):
    AUTO = "auto"
    JOB = "job"
    DIRECT = "direct"


class JobServiceAccount(str, Enum):
    AUTO = "auto"
    SECRET = "secret"  # noqa: S105 - a word, not a secret
    EMBED = "embed"
    NONE = "none"


StrategyName = Enum("StrategyName", {name.upper(): name for name in STRATEGIES}, type=str)  # type: ignore[misc]


class OnDrainTimeout(str, Enum):
    ABORT = "abort"
    FORCE = "force"


class OnRejected(str, Enum):
    DRAIN = "drain"
    CUT = "cut"


class OnFailure(str, Enum):
    ROLLBACK = "rollback"
    LEAVE = "leave"


class OnInconclusive(str, Enum):
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    LEAVE = "leave"


class CheckConfig(str, Enum):
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Preview(str, Enum):
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class LogFormat(str, Enum):
    TEXT = "text"
    JSON = "json"


class MarathonVersion(str, Enum):
    AUTO = "auto"
    V1_11 = "1.11"
    V1_7 = "1.7"


def duration(text: str | float) -> float:
    """Seconds of an option. A number without a unit is refused."""
    try:
        return text if isinstance(text, float) else parse_duration(text.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def share(text: str | int) -> int:
    """A share in percent, written as ``25`` or ``25%``."""
    number = str(text).strip().removesuffix("%")
    if not (number.isascii() and number.isdecimal() and len(number) <= 3 and int(number) <= 100):
        raise typer.BadParameter(f"{str(text)[:40]!r} is not a share; write it as 25 or 25%, at most 100")
    return int(number)


def setting(default: Any, text: str, **more: Any) -> Any:
    """A field of ``Settings``. ``more`` goes to typer.Option; ``flags``: instead of the one of its name."""
    kind: dict[str, Any] = (
        {"default_factory": lambda: list(default)} if isinstance(default, tuple) else {"default": default}
    )
    return field(**kind, metadata={"help": text, "more": more})


def seconds(default: float, text: str) -> Any:
    return setting(default, text, parser=duration, metavar="DURATION")


def _one_per_line(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """The values of an option that can contain blanks: in its environment variable each line is one value.

    ``Any`` is ``list[str]``: on Python 3.10 typer takes that annotation for a class, and fails.
    """
    source = context.get_parameter_source(str(param.name))
    if source is None or source.name != "ENVIRONMENT":
        return value
    lines = os.environ.get(str(param.envvar), "").splitlines()
    return [line.strip() for line in lines if line.strip()]


def expand_lists(environ: MutableMapping[str, str]) -> None:
    """Write each repeatable option that is a JSON list as lines, which every such option takes.

    GitLab passes an input of type array in that form. Raises UsageError for an item of several lines.
    """
    lists = [name for name, text in environ.items() if name.startswith("BGCI_") and text.lstrip().startswith("[")]
    repeatable = [option.name for option in shared_options() if option.repeatable] if lists else []
    for name in lists:
        try:
            items = json.loads(environ[name])
        except ValueError:
            continue
        if name.removeprefix("BGCI_").lower().replace("_", "-") in repeatable:
            lines = [str(item) for item in items]
            if any("\n" in line for line in lines):
                raise UsageError(f"{name} has an item of several lines.", remedy="Write each item on one line.")
            environ[name] = "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one command. Durations are in seconds."""

    app: str = setting("", "The app: web, or /team/web in a folder.")
    revision: str = setting(
        "",
        "The revision to release: 1 to 63 letters, digits, dots, underscores and dashes, such as 1.4.2 or a commit's "
        "hash. `bgci slug` maps any other text.",
    )
    image: str = setting("", "The container image of this revision.")
    template: str = setting("", "The app template; default: looked up in --template-dir.")
    template_dir: str = setting(".", "Where <app>.<revision>.template.{json,yaml} or <app>.template.{json,yaml} is.")
    set: list[str] = setting((), "A template variable, as KEY=VALUE.", metavar="KEY=VALUE", callback=_one_per_line)
    template_env: list[str] = setting((), "An environment variable that templates may read as env.NAME.")
    job_template: str = setting("", "Another template for the three jobs.")
    replaces: str = setting(
        "", "The earlier id of this app, such as /team/old-name: what runs under it is replaced by this release."
    )
    preview: Preview = setting(
        Preview.AUTO,
        "Before the canary, run one instance outside of the pair, with its own load-balancer settings in force. auto: "
        "where they differ from those of the running app.",
    )
    allow_no_health_check: bool = setting(False, "Accept an app without a health check: requests will be lost.")
    strict: bool = setting(False, "Refuse a definition about which there is advice, too.")
    marathon_version: MarathonVersion = setting(
        MarathonVersion.AUTO,
        "The Marathon whose rules the app definition is checked by. auto: that of the cluster, 1.11 without one. "
        "sandbox up: the Marathon whose answers it gives; auto: 1.11.",
    )
    cluster_url: str = setting("", "The DC/OS cluster, such as https://dcos.example.com.")
    marathon_url: str = setting("", "Marathon itself, where there is no DC/OS.")
    metronome_url: str = setting("", "Metronome itself, where there is no DC/OS.")
    marathon_lb_url: list[str] = setting(
        (), "marathon-lb's statistics port: once per replica, or one name that resolves to all."
    )
    ca_cert: str = setting("", "The CA certificates to trust: a PEM file, or the PEM text itself.")
    ca_sha256: str = setting(
        "", "Trust the cluster's own CA if its certificate has this SHA-256 fingerprint, as openssl x509 prints it."
    )
    insecure: bool = setting(
        False, "Do not verify TLS certificates, and send credentials unencrypted where the URL says http."
    )
    allow_config_addresses: bool = setting(
        False, "Send credentials to the addresses of bgci.toml, too; only where nobody runs unreviewed changes."
    )
    via: Via = setting(
        Via.AUTO,
        "job: run the goal as a DC/OS Job; direct: in this process; auto: job where Metronome answers, else direct.",
    )
    job_cluster_url: str = setting("https://master.mesos", "The cluster as the job reaches it.")
    job_marathon_url: str = setting(
        "", "Marathon as the job reaches it; default: where --marathon-url is, seen from --job-cluster-url."
    )
    job_marathon_lb_url: list[str] = setting(
        ("http://marathon-lb.marathon.mesos:9090",), "marathon-lb as the job reaches it."
    )
    job_ca_cert: str = setting("", "The CA certificates that the job trusts; default: those of --ca-cert.")
    job_service_account: JobServiceAccount = setting(
        JobServiceAccount.AUTO,
        "How the job logs in. secret: with the service account in a DC/OS secret; embed: with these credentials in the "
        "job, readable by everybody who may read jobs; none: without a login. auto: secret where there are credentials "
        "and a secret store, else none.",
    )
    job_secret: str = setting(
        "", "The path of the secret with the job's service account; default: bgci-service-account in the app's folder."
    )
    job_image: str = setting(
        "",
        "The container image of the jobs: one with bgci in it, or with Python 3.10 or later where --job-artifact is "
        "given. publish needs one of the two.",
    )
    job_artifact: str = setting(
        "", "The URL of bgci.pyz (make zipapp): Mesos fetches it into the job's image; default image: python:3.12-slim."
    )
    strategy: StrategyName = setting(
        StrategyName("bluegreen"),
        "bluegreen: the baseline keeps all its instances until the end; rolling: one for one, in waves.",
    )
    wave: int = setting(1, "rolling: number of instances that one step exchanges.", min=1)
    instances: int = setting(1, "Number of canary instances.", min=1)
    percent: int = setting(
        0,
        "Canary size in percent of the target, rounded up, such as 25 or 25%; 0: --instances counts.",
        parser=share,
        metavar="PERCENT",
    )
    timeout: float = seconds(1800.0, "Time limit of the goal.")
    drain_timeout: float = seconds(300.0, "Time limit for open sessions to end.")
    check_config: CheckConfig = setting(
        CheckConfig.AUTO,
        "Check the load balancers' configuration together with the app's labels, with the program haproxy. auto: where "
        "there is one.",
    )
    allow_port_change: bool = setting(
        False, "Accept that a service port of the baseline refuses connections after the promotion."
    )
    on_drain_timeout: OnDrainTimeout = setting(
        OnDrainTimeout.ABORT,
        "When --drain-timeout passes. abort: stop and leave everything as it is; force: cut the sessions.",
    )
    progress_timeout: float = seconds(
        0.0,
        "How long a revision may make no progress towards health, such as 5m; 0s: a minute, and what its health check "
        "allows.",
    )
    on_degraded: OnFailure = setting(
        OnFailure.ROLLBACK, "When the revision turns bad while it takes over: bring the baseline back, or leave it."
    )
    on_abort: OnFailure = setting(OnFailure.LEAVE, "On SIGINT or SIGTERM: leave everything as it is, or roll back.")
    on_rejected: OnRejected = setting(
        OnRejected.DRAIN,
        "When the tests or the judge reject the canary: drain it, or cut its sessions and kill it at once.",
    )
    cut: bool = setting(False, "rollback: kill the canary at once; its open sessions are lost.")
    yes: bool = setting(False, "remove: do not ask; needed where there is no terminal.")
    on_failure: OnFailure = setting(OnFailure.ROLLBACK, "What to do when a stage of the release fails.")
    suite: str = setting(
        "", "The test suite; default: <app>.<revision>.canary.yaml or <app>.canary.yaml if there is one."
    )
    test_command: list[str] = setting(
        (),
        "A test program, as a shell command line.",
        flags=("--test-command", "--command"),
        callback=_one_per_line,
    )
    command_timeout: float = seconds(600.0, "How long each test program may take.")
    junit_glob: list[str] = setting(
        (), "JUnit files that the test programs write, such as 'out/*.xml'.", callback=_one_per_line
    )
    service_url: list[str] = setting(
        (), "The app behind the load balancer; default: each load balancer's host and the app's service port."
    )
    judge_for: float = seconds(0.0, "How long the canary may be judged on live traffic; 0s: not at all.")
    judge_traffic: bool = setting(False, "Send synthetic traffic to canary and baseline where live traffic is thin.")
    judge_path: str = setting("/", "Path of the synthetic traffic.")
    max_failed_requests: int = setting(0, "Requests that the canary may fail beyond the baseline. 0: no limit.", min=0)
    on_inconclusive: OnInconclusive = setting(
        OnInconclusive.ROLLBACK, "What to do when the judge has too little data to decide."
    )
    steps: str = setting("", "The canary's sizes, each judged before the next: instances or shares, as 1,25%,50%.")
    keep: int = setting(3, "How many revisions keep their jobs.", min=0)
    adopt: bool = setting(
        False, "Give an app that was deployed by other means the labels of a baseline, if it is free."
    )
    adopt_restart: bool = setting(
        False, "With --adopt: also where Marathon then restarts the app's tasks, which can cut sessions."
    )
    output: LogFormat = setting(LogFormat.TEXT, "Format of the answer.")
    artifacts: str = setting("bgci-artifacts", "The directory for everything that this command writes.")
    log_format: LogFormat = setting(LogFormat.TEXT, "Format of the log.")
    dry_run: bool = setting(False, "Print the plan and the difference, change nothing.")
    state_dir: str = setting(".bgci-sandbox", "Where the sandbox keeps its state and its logs.")
    replicas: int = setting(1, "How many load balancers.", min=1, max=2)
    agents: int = setting(1, "How many Mesos agents; several are at 127.0.0.11, 127.0.0.12 ...", min=1, max=9)
    agent_attributes: list[str] = setting(
        (), "The attributes of one agent, such as 'rack:r1;disk:ssd', once per agent; default: agent and rack."
    )
    secured: bool = setting(False, "A DC/OS Enterprise: https, logins, permissions and secrets.")
    persist: bool = setting(False, "Let apps and jobs survive a stop.")
    keep_state: bool = setting(False, "Keep the state for the next start.")
    origins: dict[str, str] = field(default_factory=dict, compare=False)
    taken: tuple[str, ...] = field(default=(), compare=False)  # the names that the command takes


RELEASE = ("app", "revision", "artifacts", "log_format")
DEFINE = ("image", "template", "template_dir", "set", "template_env", "strict", "marathon_version")
CLUSTER = (
    "cluster_url",
    "marathon_url",
    "metronome_url",
    "marathon_lb_url",
    "ca_cert",
    "ca_sha256",
    "insecure",
    "allow_config_addresses",
)
JOB = (
    *("via", "job_cluster_url", "job_marathon_url", "job_marathon_lb_url", "job_ca_cert"),
    *("job_service_account", "job_secret", "job_image", "job_artifact", "job_template"),
)
GOAL = (
    "strategy",
    "wave",
    "timeout",
    "drain_timeout",
    "on_drain_timeout",
    "progress_timeout",
    "on_degraded",
    "on_abort",
    "allow_no_health_check",
    "allow_port_change",
    "check_config",
    "replaces",
    "preview",
    "dry_run",
)
TEST = ("suite", "test_command", "command_timeout", "junit_glob", "service_url")
JUDGE = ("judge_for", "judge_traffic", "judge_path", "max_failed_requests")
CANARY = ("instances", "percent")
ROLLBACK = ("cut",)
DOCTOR = (
    "job_service_account",
    "job_secret",
    "job_image",
    "job_artifact",
    "adopt",
    "adopt_restart",
    "replaces",
    "timeout",
    "output",
)

# Options of the goal that no job gets, and why.
NOT_IN_JOB = {
    "dry_run": "a dry run starts no job",
    "on_abort": "who follows the job is aborted, and runs the job of the rollback",
}

# What the wrappers (action.yml, vars/, templates/) offer.
EXPOSED = (
    "render",
    "publish",
    "canary",
    "test",
    "promote",
    "rollback",
    "release",
    "undo",
    "remove",
    "status",
    "doctor",
)
SHARED = (
    *(*RELEASE, *DEFINE, *CLUSTER, *JOB, *GOAL, *TEST, *JUDGE, *CANARY, *ROLLBACK),
    *("yes", "on_rejected", "on_failure", "on_inconclusive", "steps", "adopt", "adopt_restart", "output"),
)


@dataclass(frozen=True)
class Shared:
    """One option as every wrapper offers it. ``name``: kebab-case; ``default``: as one would write it, "" for none."""

    name: str
    default: str
    help: str
    repeatable: bool
    flag: bool
    number: bool = False
    choices: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """Help and default in one text: a wrapper passes on only what it is given, so that its own default is empty
        and environment, ``bgci.toml`` and bgci's default follow in their order."""
        more = [
            " One per line." if self.repeatable else "",
            f" One of: {', '.join(self.choices)}." if self.choices else "",
            f" [default: {self.default}]" if self.default and not self.flag else "",
        ]
        return self.help + "".join(more)


def shared_options() -> list[Shared]:
    """The options that every wrapper offers: the source for action.yml, vars/, templates/ and docs/options.md."""
    return [_shared(name) for name in SHARED if not field_of(name).metadata["more"].get("hidden")]


def _shared(name: str) -> Shared:
    found, kind = field_of(name), kinds()[name]
    return Shared(
        name=name.replace("_", "-"),
        default=_text(default_of(found), of_duration=kind is float),
        help=found.metadata["help"],
        repeatable=get_origin(kind) is list,
        flag=kind is bool,
        number=kind is int,
        choices=tuple(one.value for one in kind) if isinstance(kind, type) and issubclass(kind, Enum) else (),
    )


def _text(value: Any, *, of_duration: bool) -> str:
    """A default as one would write it."""
    if of_duration:
        return duration_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else str(getattr(value, "value", value))


def job_options(settings: Settings) -> dict[str, Any]:
    """The options of the goal as a job gets them, by name, as ``bgci.toml`` would have them."""
    return {name: option_value(settings, name) for name in (*GOAL, *CANARY, *ROLLBACK) if name not in NOT_IN_JOB}


def option_value(settings: Settings, name: str) -> Any:
    """The value of an option as ``bgci.toml`` would have it: a text with its unit for a duration."""
    value = getattr(settings, name)
    if kinds()[name] is float:
        return duration_text(value)
    return value.value if isinstance(value, Enum) else value


def effective(settings: Settings) -> list[tuple[str, str, str]]:
    """Name, value and source of each option that the command takes and that has a value, for people.

    A value that may hold a secret is not shown: template variables, and who is named in an address.
    """
    rows = []
    for name in settings.taken:
        value = getattr(settings, name)
        if name.endswith("ca_cert") and "-----BEGIN" in value:
            value = "(PEM text)"
        if name == "set":
            value = [f"{text.partition('=')[0]}=..." for text in value]
        text = _text(value, of_duration=kinds()[name] is float)
        source = _SOURCES[settings.origins.get(name, "DEFAULT")]
        if text and not field_of(name).metadata["more"].get("hidden"):
            rows.append((name.replace("_", "-"), re.sub(r"//[^/@\s]*@", "//...@", text), source))
    return rows


def field_of(name: str) -> Field[Any]:
    return next(one for one in fields(Settings) if one.name == name)


@cache
def kinds() -> dict[str, Any]:
    """The types of all settings: evaluating them for each option of each command took half of the start."""
    return get_type_hints(Settings)


def default_of(found: Field[Any]) -> Any:
    return found.default if found.default_factory is MISSING else found.default_factory()
