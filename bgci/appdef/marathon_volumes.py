"""Which volumes and Linux settings of a container Marathon refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bgci.appdef.findings import Finding
from bgci.appdef.java import is_java_pattern
from bgci.appdef.marathon_parts import App, rule

# marathon: Volume.scala, OptionLabelPatterns
_LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OPTION = re.compile(f"{_LABEL}/[A-Za-z0-9](?:[-A-Za-z0-9._:]*[A-Za-z0-9])?")


@rule("AppValidation.validVolume; DVDIProviderValidations; LinuxInfo.validLinuxInfoForContainerState")
def check_volumes(app: App) -> Iterator[Finding]:
    """Findings of a canonical app's volumes and of its `linuxInfo` (marathon: AppValidation.validVolume)."""
    container = app.get("container") or {}
    names = [str(volume["external"].get("name")) for volume in container.get("volumes", ()) if "external" in volume]
    if len(set(names)) < len(names):
        yield Finding("$.container.volumes", "has an external volume twice", "Name each volume once")
    if names and app["instances"] > 1:
        yield Finding("$.instances", "is more than 1 beside an external volume", "Write 1", marathon="/")
    if names and (app.get("upgradeStrategy") or {"maximumOverCapacity": 0})["maximumOverCapacity"] != 0:
        yield Finding("$.upgradeStrategy.maximumOverCapacity", "is not 0 beside an external volume", "Write 0")
    for index, volume in enumerate(container.get("volumes", ())):
        path = f"$.container.volumes[{index}]"
        if "persistent" in volume:
            yield from _persistent(volume, path)
        elif "external" in volume:
            yield from _external(volume, path, container["type"])
        elif "secret" in volume and volume["secret"] not in app["secrets"]:
            message = f"uses the secret {volume['secret']!r}, which is not declared"
            yield Finding(path, message, "Declare it under secrets with its source")
    if container.get("type") == "MESOS":
        yield from _linux(container.get("linuxInfo") or {})


def _persistent(volume: App, path: str) -> Iterator[Finding]:
    info, place = volume["persistent"], f"{path}.persistent"
    kind = info.get("type", "root")
    if "/" in volume["containerPath"] or volume["containerPath"] in (".", ".."):
        yield Finding(f"{path}.containerPath", "is not a name", "Write a name without / for a persistent volume")
    if volume["mode"] != "RW":
        yield Finding(f"{path}.mode", f"is {volume['mode']}", "Write RW for a persistent volume")
    if info["size"] <= 0:
        yield Finding(f"{place}.size", "is 0", "Write the size in MiB")
    if "maxSize" in info and (kind != "mount" or info["maxSize"] <= info["size"]):
        yield Finding(f"{place}.maxSize", "is not possible here", "Use it with type mount, and more than size")
    if info.get("profileName") == "":
        yield Finding(f"{place}.profileName", "is empty", "Write the profile's name, or remove it")
    if info["constraints"] and kind == "root":
        yield Finding(f"{place}.constraints", "are not possible with type root", "Use type path or mount")
    for constraint in info["constraints"]:
        if constraint[:2] != ["path", "LIKE"] or len(constraint) != 3 or not is_java_pattern(constraint[2]):
            yield Finding(f"{place}.constraints", "are not valid", 'Write ["path", "LIKE", "expression"]')


def _external(volume: App, path: str, engine: str) -> Iterator[Finding]:
    info, place = volume["external"], f"{path}.external"
    if info.get("provider") not in ("dvdi", "csi"):
        yield Finding(f"{place}.provider", "is missing or unknown", "Write dvdi or csi")
    if info.get("provider") == "csi":
        return
    if not info.get("name"):
        yield Finding(f"{place}.name", "is missing", "Name the volume")
    if volume["containerPath"] in (".", ".."):
        yield Finding(f"{path}.containerPath", "is a dot", "Write a path")
    options = info.get("options", {})
    for name in options:
        if not _OPTION.fullmatch(name):
            yield Finding(f"{place}.options", f"has {name!r}", "Write provider/name, such as dvdi/driver")
    if not options.get("dvdi/driver"):
        yield Finding(f"{place}.options", "have no dvdi/driver", 'Add "dvdi/driver": "rexray"')
    if engine == "DOCKER" and (set(options) - {"dvdi/driver"} or "size" in info):
        yield Finding(place, "has a size or options that a DOCKER container cannot use", "Keep dvdi/driver only")
    if engine == "MESOS" and volume["mode"] != "RW":
        yield Finding(f"{path}.mode", f"is {volume['mode']}", "Write RW for an external volume of a MESOS container")


def _linux(info: App) -> Iterator[Finding]:
    """marathon: LinuxInfo.scala."""
    seccomp, ipc = info.get("seccomp"), info.get("ipcInfo")
    if seccomp is not None and ("profileName" in seccomp) == seccomp["unconfined"]:
        remedy = "Write a profileName, or unconfined true"
        yield Finding("$.container.linuxInfo.seccomp", "has not exactly one of profileName and unconfined", remedy)
    if ipc is not None and ipc["mode"] == "SHARE_PARENT" and "shmSize" in ipc:
        yield Finding("$.container.linuxInfo.ipcInfo.shmSize", "is not possible with SHARE_PARENT", "Remove it")
