"""Settings: units, order of sources, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer

from bgci import command_options, option, options
from bgci.errors import UsageError

TEMPLATE = {
    "id": "/web",
    "instances": 2,
    "cpus": 0.1,
    "mem": 32,
    "container": {
        "type": "DOCKER",
        "docker": {"image": "ThisIsAUniqueKey"},
        "portMappings": [{"containerPort": 80, "servicePort": 10102}],
    },
    "networks": [{"mode": "container/bridge"}],
    "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0}],
    "labels": {"HAPROXY_GROUP": "external", "HAPROXY_DEPLOYMENT_GROUP": "web", "HAPROXY_DEPLOYMENT_ALT_PORT": "10129"},
}


def bgci(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("BGCI_", "GITHUB_", "GITLAB_", "JENKINS_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "bgci", *arguments],
        cwd=directory,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "web.template.json").write_text(json.dumps(TEMPLATE))
    return tmp_path


def canary_job(directory: Path) -> dict[str, Any]:
    """The options in the job's document."""
    path = directory / "bgci-artifacts" / "web-v1-deploy-single-canary.json"
    found: dict[str, Any] = json.loads(json.loads(path.read_text())["run"]["env"]["BGCI_JOB"])["options"]
    return found


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5)]
)
def test_a_duration_with_its_unit_is_seconds(text: str, seconds: float) -> None:
    assert option.duration(text) == seconds


@pytest.mark.parametrize("text", ["90", "", "10 m", "-5s", "5d", "s"])
def test_a_duration_without_a_known_unit_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration"):
        option.duration(text)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--timeout", "30"], "'30' is not a duration"),
        (["--sideways"], "No such option"),
        ([], "does not know: sideways"),
    ],
)
def test_an_error_before_any_stage_is_reported_to_the_ci_system(directory: Path, options: list[str], why: str) -> None:
    if not options:
        (directory / "bgci.toml").write_text("sideways = 1")
    outputs = directory / "outputs"
    done = bgci(directory, "render", *options, GITHUB_ACTIONS="true", GITHUB_OUTPUT=str(outputs))
    assert done.returncode == 2
    assert outputs.read_text() == "result=usage\nexit-code=2\n"
    (annotation,) = [line for line in done.stderr.splitlines() if line.startswith("::")]
    assert annotation.startswith("::error title=bgci render%3A usage::")
    assert why in annotation
    result = json.loads((directory / "bgci-artifacts" / "result.json").read_text())
    assert (result["command"], result["code"]) == ("render", 2)
    assert why in result["message"]


def test_an_error_reported_by_a_stage_is_not_reported_again(directory: Path) -> None:
    outputs = directory / "outputs"
    done = bgci(directory, "render", GITHUB_ACTIONS="true", GITHUB_OUTPUT=str(outputs))
    assert done.returncode == 2
    assert outputs.read_text().count("result=") == 1


def test_a_usage_error_outside_of_ci_writes_no_files(directory: Path) -> None:
    assert bgci(directory, "render", "--timeout", "30").returncode == 2
    assert not (directory / "bgci-artifacts").exists()


def test_an_empty_variable_counts_as_not_given(directory: Path) -> None:
    names = ("TIMEOUT", "WAVE", "STRATEGY", "MARATHON_LB_URL", "SET", "DRY_RUN", "TEMPLATE_DIR", "CA_CERT")
    (directory / "bgci.toml").write_text("wave = 3")
    done = bgci(
        directory,
        "render",
        "--app",
        "web",
        "--revision",
        "v1",
        "--image",
        "x",
        **{f"BGCI_{name}": "" for name in names},
    )
    assert done.returncode == 0, done.stderr
    job = canary_job(directory)
    assert (job["wave"], job["strategy"], job["timeout"]) == (3, "bluegreen", "1785s")


def test_a_bare_number_on_the_command_line_is_exit_2(directory: Path) -> None:
    done = bgci(directory, "render", "--app", "web", "--revision", "v1", "--image", "x", "--timeout", "30")
    assert done.returncode == 2
    assert "with its unit" in done.stderr


def test_flag_has_precedence_over_environment_over_file_over_default(directory: Path) -> None:
    (directory / "bgci.toml").write_text('wave = 2\ndrain-timeout = "1m"\nstrategy = "rolling"\n')
    release = ("render", "--app", "web", "--revision", "v1", "--image", "x")
    done = bgci(directory, *release, "--wave", "4", BGCI_WAVE="3", BGCI_DRAIN_TIMEOUT="2m")
    assert done.returncode == 0, done.stderr
    job = canary_job(directory)
    assert (job["wave"], job["drain_timeout"], job["strategy"]) == (4, "120s", "rolling")
    options = json.loads((directory / "bgci-artifacts" / "result.json").read_text())["options"]
    assert (options["wave"], options["drain_timeout"], options["strategy"]) == (
        "COMMANDLINE",
        "ENVIRONMENT",
        "DEFAULT_MAP",
    )


def test_an_unknown_setting_in_the_file_is_exit_2_and_named(directory: Path) -> None:
    (directory / "bgci.toml").write_text("waves = 2\n")
    done = bgci(directory, "render", "--app", "web", "--revision", "v1", "--image", "x")
    assert done.returncode == 2
    assert "waves" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_invalid_or_missing_configuration_file_is_a_usage_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("a = ")
    for path in (broken, tmp_path / "absent.toml"):
        with pytest.raises(UsageError):
            command_options.read_file(str(path))


@pytest.mark.parametrize(
    "given",
    [
        ("status", "--app", "web", "--cluster-url", "https://me:hush-hush@dcos.invalid"),
        ("doctor", "--cluster-url", "https://hush-hush@dcos.invalid"),
        ("status", "--app", "web", "--marathon-lb-url", "me:hush-hush@lb.invalid:9090"),
        ("render", "--app", "web", "--revision", "v1", "--image", "x", "--job-cluster-url", "https://me:hush-hush@in"),
    ],
)
def test_an_address_with_a_login_is_exit_2_and_never_shown(directory: Path, given: tuple[str, ...]) -> None:
    done = bgci(directory, *given)
    assert done.returncode == 2
    assert "-url contains a login in its address" in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    assert not (directory / "bgci-artifacts").exists()


def test_an_at_sign_in_a_path_is_not_taken_for_a_login(directory: Path) -> None:
    release = ("render", "--app", "web", "--revision", "v1", "--image", "x")
    assert bgci(directory, *release, "--job-cluster-url", "https://dcos.invalid/@me").returncode == 0


@pytest.mark.parametrize("name", ["template", "template-dir", "job-template", "suite", "artifacts"])
def test_an_impossible_file_name_is_exit_2(directory: Path, name: str) -> None:
    ended = bgci(directory, "test" if name == "suite" else "render", f"--{name}", "a" * 400)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"--{name} is not a path" in ended.stderr


def test_the_text_of_a_certificate_is_not_shown_in_full() -> None:
    settings = options.Settings(
        ca_cert="-----BEGIN CERTIFICATE-----\nabc", job_ca_cert="ca.pem", taken=("ca_cert", "job_ca_cert")
    )
    assert [row[:2] for row in options.effective(settings)] == [("ca-cert", "(PEM text)"), ("job-ca-cert", "ca.pem")]


def test_without_a_file_there_are_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_options.read_file("") == {}


def test_rendering_twice_gives_the_same_bytes(directory: Path) -> None:
    release = ("render", "--app", "web", "--revision", "v1", "--image", "a&b|c\"d'e@sha256:0")
    first, second = directory / "first", directory / "second"
    for artifacts in (first, second):
        assert bgci(directory, *release, "--artifacts", str(artifacts)).returncode == 0
    names = sorted(path.name for path in first.iterdir() if path.name not in ("result.json",))
    assert len(names) == 5
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_help_imports_no_module_that_only_some_commands_need() -> None:
    code = (
        "import sys, bgci.cli; print(sorted({'requests', 'jinja2', 'yaml', 'aiohttp', 'junit_xml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_option_of_the_goal_is_in_a_job_or_listed_as_excluded(directory: Path) -> None:
    release = ("render", "--app", "web", "--revision", "v1", "--image", "x")
    assert bgci(directory, *release).returncode == 0
    of_goal = {*options.GOAL, *options.CANARY}
    assert set(options.NOT_IN_JOB) < of_goal
    assert of_goal - canary_job(directory).keys() == set(options.NOT_IN_JOB)


@contextmanager
def refusing() -> Iterator[str]:
    """A server that answers every request with 401."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_every_option_reaches_a_job_in_its_document(directory: Path) -> None:
    """The options in a job's document become the settings of the command inside it."""
    given = {
        "strategy": "rolling",
        "wave": "2",
        "timeout": "10m",
        "drain_timeout": "1m",
        "on_drain_timeout": "force",
        "progress_timeout": "5m",
        "on_degraded": "leave",
        "allow_no_health_check": True,
        "allow_port_change": True,
        "check_config": "always",
        "replaces": "/old-web",
        "preview": "always",
        "percent": "50%",
    }
    assert {*given, "instances"} == {*options.GOAL, *options.CANARY} - set(options.NOT_IN_JOB)
    words = [
        word
        for name, value in given.items()
        for word in ([f"--{name.replace('_', '-')}"] if value is True else [f"--{name.replace('_', '-')}", str(value)])
    ]
    assert bgci(directory, "render", "--app", "web", "--revision", "v1", "--image", "x", *words).returncode == 0
    path = directory / "bgci-artifacts" / "web-v1-deploy-single-canary.json"
    document = json.loads(path.read_text())["run"]["env"]["BGCI_JOB"]
    with refusing() as url:
        inside = bgci(directory, "canary", "--marathon-url", url, "--cluster-url", "", BGCI_JOB=document)
    assert inside.returncode == 4, inside.stderr
    result = json.loads((directory / "bgci-artifacts" / "result.json").read_text())
    assert {name for name, source in result["options"].items() if source == "DEFAULT_MAP"} >= given.keys()


def test_two_sizes_of_the_canary_from_one_source_are_refused(directory: Path) -> None:
    release = ("render", "--app", "web", "--revision", "v1", "--image", "x")
    done = bgci(directory, *release, "--instances", "2", "--percent", "25%")
    assert done.returncode == 2
    assert "--percent and --instances are both given" in done.stderr
    (directory / "bgci.toml").write_text('percent = "25%"\ninstances = 1\n')
    assert bgci(directory, *release).returncode == 2


@pytest.mark.parametrize(("given", "size"), [((), (1, 50)), (("--instances", "2"), (2, 0))])
def test_the_canary_size_of_the_source_with_higher_precedence_is_used(
    directory: Path, given: tuple[str, ...], size: tuple[int, int]
) -> None:
    (directory / "bgci.toml").write_text('percent = "50%"\n')
    done = bgci(directory, "render", "--app", "web", "--revision", "v1", "--image", "x", *given)
    assert done.returncode == 0, done.stderr
    job = canary_job(directory)
    assert (job["instances"], job["percent"]) == size


def test_an_unknown_variable_is_exit_2(directory: Path) -> None:
    done = bgci(directory, "render", BGCI_REVSION="hush-hush")
    assert done.returncode == 2
    assert "Did you mean BGCI_REVISION?" in done.stderr
    assert "hush-hush" not in done.stderr


def test_numbers_of_thousands_of_digits_are_exit_2(directory: Path) -> None:
    many = "9" * 5000
    for given in (("--percent", many), ("--wave", many), ("--timeout", f"{many}s"), ("--steps", many)):
        done = bgci(directory, "release", "--app", "web", "--revision", "v1", "--image", "x", *given)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), given[0]


@pytest.mark.parametrize(
    "document",
    [
        "{",
        '{"app": "web", "revision": "v1", "image": "x", "definition": {}, "options": {"insecure": []}}',
        '{"app": "web", "revision": "v1", "image": "x", "definition": {}, "options": {"dry_run": {}}}',
    ],
)
def test_a_damaged_job_is_exit_3(directory: Path, document: str) -> None:
    done = bgci(directory, "canary", BGCI_JOB=document)
    assert done.returncode == 3
    assert "bgci publish" in done.stderr


def test_a_json_list_in_the_environment_is_expanded_to_its_items() -> None:
    environment = {
        "BGCI_SET": '["memory=512", "note=a b"]\n',
        "BGCI_MARATHON_LB_URL": '["http://a:9090", "http://b:9090"]',
        "BGCI_TEST_COMMAND": "[]\n",
        "BGCI_IMAGE": "[1]",
        "BGCI_JUNIT_GLOB": "[ab]*.xml",
    }
    command_options.expand_lists(environment)
    assert environment == {
        "BGCI_SET": "memory=512\nnote=a b",
        "BGCI_MARATHON_LB_URL": "http://a:9090\nhttp://b:9090",
        "BGCI_TEST_COMMAND": "",
        "BGCI_IMAGE": "[1]",
        "BGCI_JUNIT_GLOB": "[ab]*.xml",
    }
    with pytest.raises(UsageError, match="BGCI_SET has an item of several lines"):
        command_options.expand_lists({"BGCI_SET": '["a=1\\n2"]'})


def test_lists_and_empty_lists_reach_a_command_from_the_environment(directory: Path) -> None:
    lists = {"BGCI_SET": '["a=1", "b=2 3"]\n', "BGCI_JOB_MARATHON_LB_URL": '["http://a:9090", "http://b:9090"]\n'}
    ran = bgci(
        directory, "render", "--app", "web", "--revision", "v1", "--image", "i:1", BGCI_SERVICE_URL="[]\n", **lists
    )
    assert ran.returncode == 0, ran.stderr
    job = (directory / "bgci-artifacts" / "web-v1-deploy-single-canary.json").read_text()
    assert "http://a:9090" in job
    assert "http://b:9090" in job


def test_a_wrong_value_that_is_a_secret_is_not_shown(directory: Path) -> None:
    done = bgci(directory, "promote", "--app", "web", BGCI_TOKEN="hush-hush", BGCI_TIMEOUT="hush-hush")
    assert done.returncode == 2
    assert "hush-hush" not in done.stdout + done.stderr
    assert "***" in done.stderr
