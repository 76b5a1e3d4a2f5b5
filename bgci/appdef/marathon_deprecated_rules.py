"""Rules for deprecated fields of an app, as `marathon_schema.read` returns it."""

from __future__ import annotations

from collections.abc import Iterator

from bgci.appdef.findings import Finding
from bgci.appdef.java import is_java_uri
from bgci.appdef.marathon_parts import App, container_of, deprecated_rule, docker_of, engine_of, refused
from bgci.appdef.marathon_port_rules import unique_names


@deprecated_rule("AppValidation.validateOldAppAPI: uris")
def check_uris(app: App) -> Iterator[Finding]:
    if app.get("uris") and app["fetch"]:
        yield refused("$.uris", "cannot be combined with fetch", "Keep fetch only")
    for index, uri in enumerate(app.get("uris") or ()):
        if not is_java_uri(uri):
            yield refused(
                f"$.uris[{index}]", f"is {uri!r}, which is not a valid URI", "Encode special characters with %"
            )


@deprecated_rule("AppValidation.validateOldAppAPI: networks; AppNormalization.NetworkTranslation")
def check_networks_twice(app: App) -> Iterator[Finding]:
    network = docker_of(app).get("network")
    if network and app["networks"]:
        yield refused("$.container.docker.network", "cannot be combined with networks", "Keep networks only", "/")
    if network == "NONE":
        yield refused("$.container.docker.network", "is NONE", "Use BRIDGE, HOST or USER, or write networks", "/")
    if app.get("ipAddress") is not None and app["networks"]:
        yield refused("$.ipAddress", "cannot be combined with networks", "Keep networks only", "/")


@deprecated_rule("AppValidation.validateOldAppAPI: ports")
def check_ports_twice(app: App) -> Iterator[Finding]:
    ports, definitions = app.get("ports"), app.get("portDefinitions")
    if ports is not None and definitions is not None and ports != [each["port"] for each in definitions]:
        yield refused("$.ports", "contradicts portDefinitions", "Keep portDefinitions only", "/")
    used = [port for port in ports or () if port]
    if len(set(used)) < len(used):
        yield refused("$.ports", "has a port twice", "Write each port once", "/")
    if app.get("ipAddress") is not None and (ports or definitions):
        yield refused("$.ipAddress", "cannot be combined with ports", "Write networks and portMappings instead", "/")


@deprecated_rule("AppNormalization.migrateDockerPortMappings")
def check_mappings_twice(app: App) -> Iterator[Finding]:
    docker, path = docker_of(app), "$.container.docker.portMappings"
    if docker.get("portMappings") and "portMappings" in container_of(app):
        yield refused(path, "cannot be combined with container.portMappings", "Keep container.portMappings only")
    yield from unique_names(docker.get("portMappings") or (), path)


@deprecated_rule("AppNormalization.migrateIpDiscovery; AppValidation.validateOldAppAPI: ipAddress")
def check_discovery(app: App) -> Iterator[Finding]:
    address = app.get("ipAddress") or {}
    path, remedy = "$.ipAddress.discovery", "Write networks and container.portMappings instead"
    if "discovery" not in address:
        return
    if engine_of(app) == "DOCKER":
        yield refused(path, "is not possible with a DOCKER container", remedy, "/ipAddress")
    elif address["discovery"]["ports"] and "portMappings" in container_of(app):
        yield refused(path, "cannot be combined with portMappings", remedy)


@deprecated_rule("AppValidation.validOldContainerAPI")
def check_mesos_docker(app: App) -> Iterator[Finding]:
    docker = docker_of(app)
    if "credential" in docker:
        yield refused("$.container.docker.credential", "is no longer supported", "Use pullConfig with a secret")
    if engine_of(app) != "MESOS":
        return
    for name in ("network", "parameters", "portMappings"):
        if docker.get(name) if name == "parameters" else name in docker:
            remedy = "Remove it" if name == "parameters" else "Write networks and container.portMappings instead"
            yield refused(f"$.container.docker.{name}", "is not possible with a MESOS container", remedy)
