"""All settings: name, type, default and help of each, and the groups of settings per command.

Order: flag > environment (``BGCI_<OPTION>``) > ``bgci.toml`` > default.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from bgci.engine.strategies import STRATEGIES
from bgci.option import Option, seconds, setting, share

FILE = "bgci.toml"
FROM_FILE = "DEFAULT_MAP"  # the origin of a setting, as click calls it
_SOURCES = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment", "DEFAULT_MAP": FILE, "DEFAULT": "default"}

When = Literal["auto", "always", "never"]
OnFailure = Literal["rollback", "leave"]
JobServiceAccount = Literal["auto", "secret", "embed", "none"]
Format = Literal["text", "json"]
if TYPE_CHECKING:
    StrategyName = str
else:
    StrategyName = Literal[tuple(STRATEGIES)]


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
    template: str = setting("", "The app template; default: looked up in --template-dir.", place="file")
    template_dir: str = setting(
        ".", "The directory of <app>.<revision>.template.{json,yaml} or <app>.template.{json,yaml}.", place="directory"
    )
    set: list[str] = setting((), "A template variable, as KEY=VALUE.", metavar="KEY=VALUE", lines=True)
    template_env: list[str] = setting((), "An environment variable that templates can read as env.NAME.")
    job_template: str = setting("", "Another template for the three jobs.", place="file")
    replaces: str = setting(
        "", "The earlier id of this app, such as /team/old-name. This release replaces the app that runs under it."
    )
    preview: When = setting(
        "auto",
        "Before the canary, run one instance outside of the group, with its own load-balancer settings in force. auto: "
        "if they differ from those of the running app.",
    )
    allow_no_health_check: bool = setting(False, "Accept an app without a health check. Requests will be lost.")
    strict: bool = setting(False, "Treat advice about the app definition as an error.")
    marathon_version: Literal["auto", "1.11", "1.7"] = setting(
        "auto",
        "The Marathon version whose rules check the app definition. auto: the cluster's, 1.11 without a cluster. "
        "sandbox up: the version that the sandbox imitates; auto: 1.11.",
    )
    cluster_url: str = setting("", "The DC/OS cluster, such as https://dcos.example.com.")
    marathon_url: str = setting("", "The URL of Marathon, without DC/OS.")
    metronome_url: str = setting("", "The URL of Metronome, without DC/OS.")
    marathon_lb_url: list[str] = setting(
        (), "The URL of marathon-lb's statistics port: once per replica, or one name that resolves to all replicas."
    )
    ca_cert: str = setting("", "The CA certificates to trust: a PEM file, or the PEM text itself.", place="file")
    ca_sha256: str = setting(
        "", "Trust the cluster's own CA if its certificate has this SHA-256 fingerprint, as openssl x509 prints it."
    )
    insecure: bool = setting(False, "Do not verify TLS certificates, and send credentials unencrypted to an http URL.")
    allow_config_addresses: bool = setting(
        False,
        "Trust the addresses, CA certificates and jobs of bgci.toml with credentials. Safe only if every change is "
        "reviewed before it runs.",
    )
    via: Literal["auto", "job", "direct"] = setting(
        "auto",
        "How the goal runs. job: as a DC/OS Job; direct: in this process; auto: job if Metronome answers, else direct.",
    )
    job_cluster_url: str = setting("https://master.mesos", "The URL of the cluster inside the job.")
    job_marathon_url: str = setting(
        "", "The URL of Marathon inside the job; default: the path of --marathon-url below --job-cluster-url."
    )
    job_marathon_lb_url: list[str] = setting(
        ("http://marathon-lb.marathon.mesos:9090",), "The URL of marathon-lb's statistics port inside the job."
    )
    job_ca_cert: str = setting(
        "", "The CA certificates that the job trusts; default: the value of --ca-cert.", place="file"
    )
    job_service_account: JobServiceAccount = setting(
        "auto",
        "How the job logs in. secret: with the service account in a DC/OS secret; embed: with these credentials in the "
        "job, where every account with read permission for jobs sees them; none: without a login. auto: secret if "
        "credentials and a secret store exist, else none.",
    )
    job_secret: str = setting(
        "", "The path of the secret with the job's service account; default: bgci-service-account in the app's folder."
    )
    job_image: str = setting(
        "",
        "The container image of the jobs, with bgci in it; with --job-artifact, one with Python 3.10 or later. "
        "publish needs --job-image or --job-artifact.",
    )
    job_artifact: str = setting(
        "", "The URL of bgci.pyz (make zipapp): Mesos fetches it into the job's image; default image: python:3.12-slim."
    )
    strategy: StrategyName = setting(
        "bluegreen",
        "How the new revision replaces the baseline. "
        + "; ".join(f"{name}: {strategy.summary}" for name, strategy in STRATEGIES.items())
        + ".",
    )
    wave: int = setting(1, "With --strategy rolling: number of instances that one step exchanges.", min=1)
    instances: int = setting(1, "Number of canary instances.", min=1)
    percent: int = setting(
        0,
        "Canary size in percent of the target, rounded up, such as 25 or 25%; 0: use --instances.",
        parser=share,
        metavar="PERCENT",
    )
    timeout: float = seconds(1800.0, "Time limit of the goal, such as 30m.")
    drain_timeout: float = seconds(300.0, "Time limit for open sessions to end, such as 5m.")
    check_config: When = setting(
        "auto",
        "Check the load balancers' configuration together with the app's labels, with the program haproxy. auto: if "
        "it is installed.",
    )
    allow_port_change: bool = setting(
        False, "Accept that a service port of the baseline refuses connections after the promotion."
    )
    on_drain_timeout: Literal["abort", "force"] = setting(
        "abort", "When --drain-timeout passes. abort: stop and change nothing more; force: cut the sessions."
    )
    lock_timeout: float = seconds(
        0.0,
        "Time limit of the wait while another command changes the same app, such as 10m; 0s: end with exit 6 at once.",
    )
    progress_timeout: float = seconds(
        0.0,
        "Time limit without progress towards health, such as 5m. 0s: one minute plus the time that the health check "
        "allows.",
    )
    on_degraded: OnFailure = setting(
        "rollback",
        "When the revision becomes unhealthy during the promotion: restore the baseline, or leave everything as it is.",
    )
    on_abort: OnFailure = setting("leave", "On SIGINT or SIGTERM: roll back, or leave everything as it is.")
    on_rejected: Literal["drain", "cut"] = setting(
        "drain", "When the tests or the judge reject the canary: drain it, or cut its sessions and kill it at once."
    )
    cut: bool = setting(False, "With rollback: kill the canary at once. Its open sessions are lost.")
    yes: bool = setting(False, "With remove: do not ask for confirmation. Required without a terminal.")
    on_failure: OnFailure = setting(
        "rollback", "When a stage of the release fails: roll back, or leave everything as it is."
    )
    suite: str = setting(
        "",
        "The test suite; default: <app>.<revision>.canary.yaml or <app>.canary.yaml in --template-dir, if one exists.",
        place="file",
    )
    test_command: list[str] = setting(
        (), "A test program, as a shell command line.", "--test-command", "--command", lines=True
    )
    command_timeout: float = seconds(600.0, "Time limit of each test program, such as 10m.")
    junit_glob: list[str] = setting(
        (), "JUnit files that the test programs write, such as 'out/*.xml'.", lines=True, place="file"
    )
    service_url: list[str] = setting(
        (),
        "The URL of the app behind the load balancer; default: each load balancer's host and the app's service port.",
    )
    judge_for: float = seconds(0.0, "Time limit for judging the canary on live traffic, such as 5m; 0s: no judge.")
    judge_traffic: bool = setting(False, "Send synthetic traffic to canary and baseline if live traffic is too thin.")
    judge_path: str = setting("/", "Path of the synthetic traffic.")
    max_failed_requests: int = setting(
        0, "Number of requests that the canary can fail beyond the baseline; 0: no limit.", min=0
    )
    on_inconclusive: Literal["rollback", "promote", "leave"] = setting(
        "rollback", "When the judge has too little data to decide: roll back, promote, or leave the canary running."
    )
    steps: str = setting("", "The canary's sizes, each judged before the next: instances or shares, such as 1,25%,50%.")
    keep: int = setting(3, "Number of revisions that keep their jobs.", min=0)
    adopt: bool = setting(
        False, "Set the labels of a baseline on an app that another tool deployed, if that restarts no task."
    )
    adopt_restart: bool = setting(
        False, "With --adopt: also if Marathon then restarts the app's tasks, which can cut sessions."
    )
    output: Format = setting("text", "Format of the answer.")
    artifacts: str = setting(
        "bgci-artifacts", "The directory for the files that this command writes.", place="directory"
    )
    log_format: Format = setting("text", "Format of the log.")
    dry_run: bool = setting(False, "Print the plan and the differences; change nothing.")
    state_dir: str = setting(".bgci-sandbox", "The directory of the sandbox's state and logs.", place="directory")
    replicas: int = setting(1, "Number of load balancers.", min=1, max=2)
    agents: int = setting(
        1, "Number of Mesos agents. Two or more have the addresses 127.0.0.11, 127.0.0.12 ...", min=1, max=9
    )
    agent_attributes: list[str] = setting(
        (), "The attributes of one agent, such as 'rack:r1;disk:ssd'; repeat for each agent. Default: agent and rack."
    )
    secured: bool = setting(False, "Start a DC/OS Enterprise: https, logins, permissions and secrets.")
    persist: bool = setting(False, "Keep apps and jobs when the sandbox stops.")
    keep_state: bool = setting(False, "Keep the state for the next start.")
    origins: dict[str, str] = field(default_factory=dict, compare=False)
    taken: tuple[str, ...] = field(default=(), compare=False)  # the names of the command's options


RELEASE = ("app", "revision", "artifacts", "log_format")
DEFINE = ("image", "template", "template_dir", "set", "template_env", "strict", "marathon_version")
CLUSTER = (
    *("cluster_url", "marathon_url", "metronome_url", "marathon_lb_url"),
    *("ca_cert", "ca_sha256", "insecure", "allow_config_addresses"),
)
JOB = (
    *("via", "job_cluster_url", "job_marathon_url", "job_marathon_lb_url", "job_ca_cert"),
    *("job_service_account", "job_secret", "job_image", "job_artifact", "job_template"),
)
GOAL = (
    *(
        "strategy",
        "wave",
        "timeout",
        "drain_timeout",
        "on_drain_timeout",
        "progress_timeout",
        "on_degraded",
        "on_abort",
    ),
    *("allow_no_health_check", "allow_port_change", "check_config", "replaces", "preview", "lock_timeout", "dry_run"),
)
TEST = ("suite", "test_command", "command_timeout", "junit_glob", "service_url")
JUDGE = ("judge_for", "judge_traffic", "judge_path", "max_failed_requests")
CANARY = ("instances", "percent")
ROLLBACK = ("cut",)
DOCTOR = (
    *("job_service_account", "job_secret", "job_image", "job_artifact"),
    *("adopt", "adopt_restart", "replaces", "timeout", "lock_timeout", "output"),
)

# Options of the goal that no job carries, and why.
NOT_IN_JOB = {
    "dry_run": "a dry run starts no job",
    "on_abort": "a signal reaches the command that follows the job, and this command runs the rollback's job",
    "lock_timeout": "the command that follows the job waits before it starts the job",
}

# The commands that the wrappers (action.yml, vars/, templates/) offer.
EXPOSED = (
    *("render", "publish", "canary", "test", "promote", "rollback"),
    *("release", "undo", "remove", "status", "doctor"),
)
SHARED = (
    *(*RELEASE, *DEFINE, *CLUSTER, *JOB, *GOAL, *TEST, *JUDGE, *CANARY, *ROLLBACK),
    *("yes", "on_rejected", "on_failure", "on_inconclusive", "steps", "adopt", "adopt_restart", "output"),
)


def _options() -> dict[str, Option]:
    kinds = get_type_hints(Settings)
    return {
        one.name: Option(
            one.name,
            kinds[one.name],
            one.default if one.default_factory is MISSING else one.default_factory(),
            **one.metadata,
        )
        for one in fields(Settings)
        if one.metadata
    }


OPTIONS = _options()


def shared_options() -> list[Option]:
    """The options that every wrapper offers: the source for action.yml, vars/, templates/ and docs/options.md."""
    return [OPTIONS[name] for name in SHARED]


def job_options(settings: Settings) -> dict[str, Any]:
    """The options of the goal for a job, by name, in the form of ``bgci.toml``."""
    return {name: option_value(settings, name) for name in (*GOAL, *CANARY, *ROLLBACK) if name not in NOT_IN_JOB}


def option_value(settings: Settings, name: str) -> Any:
    """The value of an option in the form of ``bgci.toml``: a duration is a text with its unit."""
    return OPTIONS[name].plain(getattr(settings, name))


def effective(settings: Settings) -> list[tuple[str, str, str]]:
    """Name, value and source of each option of the command that has a value, for the report.

    Hides possible secrets: the values of template variables, and logins in addresses.
    """
    rows = []
    for name in settings.taken:
        value = getattr(settings, name)
        if name.endswith("ca_cert") and "-----BEGIN" in value:
            value = "(PEM text)"
        if name == "set":
            value = [f"{text.partition('=')[0]}=..." for text in value]
        text = OPTIONS[name].text(value)
        if text:
            source = _SOURCES[settings.origins.get(name, "DEFAULT")]
            rows.append((OPTIONS[name].name, re.sub(r"//[^/@\s]*@", "//...@", text), source))
    return rows
