"""Every option, argument and variable that names a file or a directory, with every kind of invalid path."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.client import until
from hostile.cluster import Cluster
from hostile.command import Ended, impatient, run
from hostile.commands import APP, V2, environment, prepared
from hostile.good_answers import DEFINITION

from bgci import bounded, options
from bgci.dcos.credentials import CREDENTIAL_VARIABLES

TEST = ("test", *V2)
# By option: a command that reads what it names.
READERS: dict[str, tuple[str, ...]] = {
    "template": ("render", *V2),
    "template_dir": ("render", *V2),
    "job_template": ("render", *V2),
    "ca_cert": ("status", *APP),
    "job_ca_cert": ("render", *V2),
    "suite": TEST,
    "junit_glob": (*TEST, "--test-command", "true"),
    "artifacts": ("render", *V2),
    "state_dir": ("sandbox", "status"),
}
# The same of the paths that are not options of a command.
OTHERS: dict[str, tuple[str, ...]] = {
    "--config": ("render", *V2),
    "replay": ("replay",),
    **{name: ("status", *APP) for name in CREDENTIAL_VARIABLES if name.endswith("_FILE")},
    "DCOS_SERVICE_ACCOUNT_CREDENTIAL": ("status", *APP),
    "SSL_CERT_FILE": ("status", *APP),
}
# Options without a path, although their help mentions one.
NO_PATHS = {"job_marathon_url", "job_secret", "judge_path", "set"}


def _directory(place: Path) -> Path:
    place.mkdir()
    return place


def _pipe(place: Path) -> Path:
    os.mkfifo(place)
    return place


def _binary(place: Path) -> Path:
    place.write_bytes(bytes(range(256)) * 10)
    return place


def _large(place: Path) -> Path:
    with open(place, "wb") as file:
        file.truncate(1 << 36)
    return place


def _loop(place: Path) -> Path:
    place.symlink_to(place)
    return place


PATHS: dict[str, Callable[[Path], Path | str]] = {
    "NUL": lambda place: f"{place}\0.json",
    "a long name": lambda place: place.with_name("x" * 400),
    "a long path": lambda place: place / ("x/" * 3000),
    "directory": _directory,
    "pipe": _pipe,
    "zero": lambda place: "/dev/zero",
    "terminal": lambda place: "/dev/tty",
    "binary": _binary,
    "large": _large,
    "missing": lambda place: place,
    "below a file": lambda place: _binary(place) / "inner",
    "a link to itself": _loop,
    "surrogate": lambda place: f"{place}\udcff",
    "memory of this process": lambda place: "/proc/self/mem",
    "control characters": lambda place: f"{place}\x1b[2J\n.json",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bounded, "MOST_SECONDS", 0.2)
    return prepared(tmp_path, cluster)


def test_every_option_with_a_path_is_typed_as_a_path() -> None:
    speaking = re.compile(r"\b(files?|director(y|ies)|path|template|suite|PEM)\b", re.IGNORECASE)
    speak = {
        one.key for one in options.OPTIONS.values() if isinstance(one.initial, str | list) and speaking.search(one.help)
    }
    known = {one.key for one in options.OPTIONS.values() if one.place}
    assert speak - known <= NO_PATHS
    assert known == READERS.keys()


@pytest.mark.parametrize("name", [*READERS, *OTHERS])
def test_an_invalid_path_is_refused_with_a_message(home: Path, cluster: Cluster, name: str) -> None:
    found = {
        kind: ended(home, cluster, name, str(make(home / f"{n}.json"))) for n, (kind, make) in enumerate(PATHS.items())
    }
    for kind, one in found.items():
        assert one.within_contract, f"{kind}: {one.err}"
        assert "[Errno" not in one.err, f"{kind}: {one.err}"
        assert not one.code or re.search(r"[A-Z].*\.$", one.err, re.MULTILINE | re.DOTALL), f"{kind}: {one.err}"
    refused = {kind for kind, one in found.items() if one.code in (2, 3)}
    if name not in ("artifacts", "state_dir", "template_dir", "junit_glob"):
        assert refused >= PATHS.keys() - {"NUL", "directory"}


def ended(home: Path, cluster: Cluster, name: str, path: str) -> Ended:
    """The command with this path."""
    environ, words = environment(cluster), list({**READERS, **OTHERS}[name])
    if name in READERS:
        words += [f"--{name.replace('_', '-')}", path]
    elif name == "--config":
        words = ["--config", path, *words]
    elif name == "replay":
        words.append(path)
    else:
        path = path.replace("\0", "")  # no variable can hold it
        if name in CREDENTIAL_VARIABLES:
            environ = {key: value for key, value in environ.items() if key not in ("BGCI_USERNAME", "BGCI_PASSWORD")}
        environ |= {"BGCI_USERNAME": "ci"} if "PASSWORD" in name else {}
        environ[name] = f"file:{path}" if name == "DCOS_SERVICE_ACCOUNT_CREDENTIAL" else path
    with impatient():
        return run(home, words, environ)


def opened_after_a_reader(pipe: Path) -> int | None:
    """A handle to write to the pipe; None while nobody has opened it for reading."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def test_a_template_can_be_a_pipe_whose_writer_is_late_and_is_read_once(home: Path, cluster: Cluster) -> None:
    place = home / "piped.json"
    os.mkfifo(place)

    def write_to_a_reader() -> None:
        handle = until(lambda: opened_after_a_reader(place))
        with open(handle, "w") as file:
            file.write(json.dumps(DEFINITION))

    writer = threading.Thread(target=write_to_a_reader, daemon=True)
    writer.start()
    found = run(home, ["render", *V2, "--template", str(place)], environment(cluster))
    writer.join(10)
    assert found.code == 0, found.err
    manifest = json.loads((home / "bgci-artifacts" / "manifest.json").read_text())
    assert manifest["template"]["sha256"] == hashlib.sha256(json.dumps(DEFINITION).encode()).hexdigest()
