"""Settings: units, order of sources, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bgci import options
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


def canary_job(directory: Path) -> dict[str, str]:
    path = directory / "bgci-artifacts" / "web-v1-deploy-single-canary.json"
    environment: dict[str, str] = json.loads(path.read_text())["run"]["env"]
    return environment


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5)]
)
def test_a_duration_with_its_unit_is_seconds(text: str, seconds: float) -> None:
    assert options.duration(text) == seconds


@pytest.mark.parametrize("text", ["90", "", "10 m", "-5s", "5d", "s"])
def test_a_duration_without_a_known_unit_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration"):
        options.duration(text)


@pytest.mark.parametrize("seconds", [0.5, 90.0, 1785.0, 5_000_000.0])
def test_a_duration_survives_being_written_down(seconds: float) -> None:
    assert options.duration(options.duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--timeout", "30"], "'30' is not a duration"),
        (["--sideways"], "No such option"),
        ([], "does not know: sideways"),
    ],
)
def test_what_is_wrong_before_any_stage_is_told_to_the_ci_system(directory: Path, options: list[str], why: str) -> None:
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


def test_what_a_stage_has_told_is_not_told_again(directory: Path) -> None:
    outputs = directory / "outputs"
    done = bgci(directory, "render", GITHUB_ACTIONS="true", GITHUB_OUTPUT=str(outputs))
    assert done.returncode == 2
    assert outputs.read_text().count("result=") == 1


def test_a_person_who_mistypes_gets_no_files(directory: Path) -> None:
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
    assert (job["BGCI_WAVE"], job["BGCI_STRATEGY"], job["BGCI_TIMEOUT"]) == ("3", "bluegreen", "1785s")


def test_a_bare_number_on_the_command_line_is_exit_2(directory: Path) -> None:
    done = bgci(directory, "render", "--app", "web", "--revision", "v1", "--image", "x", "--timeout", "30")
    assert done.returncode == 2
    assert "with its unit" in done.stderr


def test_flag_beats_environment_beats_file_beats_default(directory: Path) -> None:
    (directory / "bgci.toml").write_text('wave = 2\ndrain-timeout = "1m"\nstrategy = "rolling"\n')
    release = ("render", "--app", "web", "--revision", "v1", "--image", "x")
    done = bgci(directory, *release, "--wave", "4", BGCI_WAVE="3", BGCI_DRAIN_TIMEOUT="2m")
    assert done.returncode == 0, done.stderr
    job = canary_job(directory)
    assert (job["BGCI_WAVE"], job["BGCI_DRAIN_TIMEOUT"], job["BGCI_STRATEGY"]) == ("4", "120s", "rolling")
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


def test_a_file_that_is_no_toml_or_not_there_is_a_usage_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("a = ")
    for path in (broken, tmp_path / "absent.toml"):
        with pytest.raises(UsageError):
            options.read_file(str(path))


@pytest.mark.parametrize(
    "given",
    [
        ("status", "--app", "web", "--cluster-url", "https://me:hush-hush@dcos.invalid"),
        ("doctor", "--cluster-url", "https://hush-hush@dcos.invalid"),
        ("status", "--app", "web", "--marathon-lb-url", "me:hush-hush@lb.invalid:9090"),
        ("render", "--app", "web", "--revision", "v1", "--image", "x", "--job-cluster-url", "https://me:hush-hush@in"),
    ],
)
def test_an_address_with_a_login_in_it_is_exit_2_and_shown_nowhere(directory: Path, given: tuple[str, ...]) -> None:
    done = bgci(directory, *given)
    assert done.returncode == 2
    assert "-url holds a login in its address" in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
    assert not (directory / "bgci-artifacts").exists()


def test_an_at_sign_in_a_path_is_no_login(directory: Path) -> None:
    release = ("render", "--app", "web", "--revision", "v1", "--image", "x")
    assert bgci(directory, *release, "--job-cluster-url", "https://dcos.invalid/@me").returncode == 0


def test_the_text_of_a_certificate_is_not_shown_in_full() -> None:
    settings = options.Settings(
        ca_cert="-----BEGIN CERTIFICATE-----\nabc", job_ca_cert="ca.pem", taken=("ca_cert", "job_ca_cert")
    )
    assert [row[:2] for row in options.effective(settings)] == [("ca-cert", "(PEM text)"), ("job-ca-cert", "ca.pem")]


def test_without_a_file_there_are_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert options.read_file("") == {}


def test_rendering_twice_gives_the_same_bytes(directory: Path) -> None:
    release = ("render", "--app", "web", "--revision", "v1", "--image", "a&b|c\"d'e@sha256:0")
    first, second = directory / "first", directory / "second"
    for artifacts in (first, second):
        assert bgci(directory, *release, "--artifacts", str(artifacts)).returncode == 0
    names = sorted(path.name for path in first.iterdir() if path.name not in ("result.json",))
    assert len(names) == 5
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_the_help_starts_without_what_only_some_commands_need() -> None:
    code = (
        "import sys, bgci.cli; print(sorted({'requests', 'jinja2', 'yaml', 'aiohttp', 'junit_xml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
