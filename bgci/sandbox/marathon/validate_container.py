"""What Marathon refuses of a container: its image, port mappings, volumes (marathon: AppValidation.scala
validContainer, validVolume; DVDIProvider.scala; LinuxInfo.scala)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bgci.sandbox.marathon.raml import Errors, add

Json = Mapping[str, Any]
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OPTION = rf"{_LABEL}/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?"
_DRIVER = "dvdi/driver"


def container_errors(app: Json, errors: Errors) -> None:
    """Errors below ``/container``, and errors of the app that its volumes cause."""
    container = app["container"]
    _mapping_errors(app, container.get("portMappings", []), errors)
    _image_errors(container, app.get("secrets", {}), errors)
    names = [volume["external"]["name"] for volume in container["volumes"] if volume.get("external", {}).get("name")]
    if len(set(names)) != len(names):
        add(errors, "/container/volumes", "Volume names must be unique")
    for index, volume in enumerate(container["volumes"]):
        path = f"/container/volumes({index})"
        if "persistent" in volume:
            _persistent_errors(volume, path, errors)
        elif "external" in volume:
            _external_errors(container, volume, path, errors)
        elif "secret" in volume and volume["secret"] not in app.get("secrets", {}):
            add(errors, path, "volume.secret must refer to an existing secret")
    if any(volume.get("external", {}).get("provider") == "dvdi" for volume in container["volumes"]):
        _driver_volume_errors(app, errors)


def _mapping_errors(app: Json, mappings: Sequence[Json], errors: Errors) -> None:
    networks = app.get("networks", [])
    known = [network["name"] for network in networks if "name" in network]
    several = sum(network["mode"] == "container" for network in networks) > 1
    names = [mapping["name"] for mapping in mappings if "name" in mapping]
    if len(set(names)) != len(names):
        add(errors, "/container/portMappings", "Port names must be unique.")
    for index, mapping in enumerate(mappings):
        path, chosen = f"/container/portMappings({index})", mapping.get("networkNames", [])
        if several and "hostPort" in mapping and len(chosen) != 1:
            add(errors, path, "networkNames must be a single item list when hostPort is specified and more than 1 "
                "container network is defined")  # fmt: skip
        for at, name in enumerate(chosen):
            if name not in known:
                add(errors, f"{path}/networkNames({at})", f"is not one of ({','.join(known)})")


def _image_errors(container: Json, secrets: Json, errors: Errors) -> None:
    docker, appc = container.get("docker"), container.get("appc")
    if container["type"] == "DOCKER" and docker is None:
        add(errors, "/container/docker", "not defined")
    elif container["type"] == "DOCKER" and "pullConfig" in container["docker"]:
        add(errors, "/container/docker/pullConfig", "pullConfig is not supported with Docker containerizer")
    elif docker is not None and docker.get("pullConfig", {}).get("secret", "") not in ("", *secrets):
        add(errors, "/container/docker/pullConfig", "pullConfig.secret must refer to an existing secret")
    if container["type"] == "MESOS" and docker is not None and appc is not None:
        add(errors, "/container", "mesos containers should specify, at most, a single image type")
    elif appc is not None and not re.fullmatch(r"sha512-.+", appc.get("id", "sha512-x")):
        add(errors, "/container/appc/id", "id must begin with 'sha512-', and contain a digest after it.")


def _persistent_errors(volume: Json, path: str, errors: Errors) -> None:
    info = volume["persistent"]
    kind = info.get("type", "root")
    if volume["containerPath"] in (".", ".."):
        add(errors, f"{path}/containerPath", "can not be one of (.,..)")
    if "/" in volume["containerPath"]:
        add(errors, f"{path}/containerPath", 'value must not contain "/"')
    if volume["mode"] != "RW":
        add(errors, f"{path}/mode", f"got {volume['mode']}, expected RW")
    if info["size"] <= 0:
        add(errors, f"{path}/persistent/size", f"got {info['size']}, expected more than 0")
    for constraint in info["constraints"]:
        if len(constraint) < 3 or constraint[0] != "path":
            add(errors, f"{path}/persistent/constraints", f"Unsupported constraint {','.join(constraint)}")
        elif constraint[1] not in ("LIKE", "UNLIKE"):
            add(errors, f"{path}/persistent/constraints", "Operator must be one of LIKE, UNLIKE")
    if kind == "root" and info["constraints"]:
        add(errors, f"{path}/persistent", "Constraints on root volumes are not supported")
    if kind != "mount" and "maxSize" in info:
        add(errors, f"{path}/persistent", "Only mount volumes can have maxSize")
    if info.get("maxSize", info["size"] + 1) <= info["size"]:
        add(errors, f"{path}/persistent", "Max size must be larger than size")


def _external_errors(container: Json, volume: Json, path: str, errors: Errors) -> None:
    info, at = volume["external"], f"{path}/external"
    provider = info.get("provider")
    if isinstance(info.get("options", {}).get("capability"), dict):
        return
    if not info.get("name"):
        add(errors, f"{at}/name", "must not be empty")
    if provider is None or not re.fullmatch(_LABEL, provider):
        add(errors, f"{at}/provider", "not defined" if provider is None else f"must match regular expression {_LABEL}")
    if any(not re.fullmatch(_OPTION, name) for name in info.get("options", {})):
        add(errors, f"{at}/options/keys", f"must fully match regular expression '{_OPTION}'")
    if provider == "dvdi":
        _driver_errors(container, volume, at, errors)
    elif provider is not None:
        add(errors, f"{at}/provider", "is unknown provider")


def _driver_errors(container: Json, volume: Json, at: str, errors: Errors) -> None:
    info = volume["external"]
    options = info.get("options", {})
    if not options.get(_DRIVER):
        add(errors, f'{at}/options/"{_DRIVER}"', "not defined")
    if volume["containerPath"] in (".", ".."):
        add(errors, f"{at.removesuffix('/external')}/containerPath", "can not be one of (.,..)")
    if container["type"] == "DOCKER" and options.keys() - {_DRIVER}:
        add(errors, f"{at}/options", f"must only contain {_DRIVER}")
    if container["type"] == "DOCKER" and "size" in info:
        add(errors, f"{at}/size", "must be undefined for Docker containers")
    if container["type"] == "MESOS" and volume["mode"] != "RW":
        add(errors, f"{at.removesuffix('/external')}/mode", f"got {volume['mode']}, expected RW")


def _driver_volume_errors(app: Json, errors: Errors) -> None:
    if app["instances"] > 1:
        text = f"Number of instances is limited to 1 when declaring DVDI volumes in app [{app['id']}]"
        add(errors, "/", text)
    over = app.get("upgradeStrategy", {}).get("maximumOverCapacity", 0)
    if over:
        add(errors, "/upgradeStrategy/maximumOverCapacity", f"got {over}, expected 0.0")


def linux_errors(linux: Json, errors: Errors) -> None:
    """Errors below ``/container/linuxInfo``."""
    seccomp, ipc = linux.get("seccomp"), linux.get("ipcInfo", {})
    if seccomp is not None and ("profileName" in seccomp) == seccomp["unconfined"]:
        wrong = (
            "can NOT be true when Profile is defined"
            if seccomp["unconfined"]
            else "must be true when Profile is NOT defined"
        )
        add(errors, "/container/linuxInfo/seccomp", f"Seccomp unconfined {wrong}")
    if ipc.get("mode") == "SHARE_PARENT" and "shmSize" in ipc:
        add(errors, "/container/linuxInfo/ipcInfo", "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT")
