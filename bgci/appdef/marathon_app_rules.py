"""Rules for everything in a canonical app but its ports, networks and checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from bgci.appdef.findings import Finding, at
from bgci.appdef.java import is_java_pattern, is_java_uri
from bgci.appdef.marathon_parts import App, container_of, docker_of, engine_of, refused, rule
from bgci.appdef.names import RESERVED, SEGMENT

_OPERATORS = ("UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS")


@rule("PathId.pathIdValidator, PathId.nonEmptyPath")
def check_id(app: App) -> Iterator[Finding]:
    parts = app["id"].strip("/").split("/")
    if parts == [""]:
        yield refused("$.id", "is empty", "Write the app's id, such as /team/web")
    elif not _valid_path(app["id"]):
        yield refused("$.id", f"is {app['id']!r}", f"The last part cannot be {', '.join(RESERVED)}")


def _valid_path(path: str) -> bool:
    parts = [part for part in path.split("/") if part]
    dots = (".", "..")
    legal = all(part in dots or SEGMENT.fullmatch(part) for part in parts)
    return legal and (not parts or parts[-1] not in (*RESERVED, *dots))


@rule("PathId.pathIdValidator; RootGroup.dependencyGraph")
def check_dependencies(app: App) -> Iterator[Finding]:
    for index, path in enumerate(app["dependencies"]):
        if not _valid_path(path):
            remedy = "Use lower-case letters, digits, dashes and /"
            yield refused(f"$.dependencies[{index}]", f"is {path!r}, which is not a valid id", remedy)
        elif f"{app['id']}/".startswith(f"{path.rstrip('/')}/"):
            yield refused(f"$.dependencies[{index}]", "is the app itself or its folder", "Remove it", "/")


@rule("AppDefinition.containsCmdArgsOrContainer; AppValidation.validateCanonicalAppAPI: cmd")
def check_command(app: App) -> Iterator[Finding]:
    cmd, args = app.get("cmd"), app["args"]
    if cmd is not None and args:
        yield refused("$.cmd", "cannot be combined with args", "Keep one of the two", "/")
    elif cmd is None and not args and "docker" not in container_of(app):
        yield refused("$", "has no command and no image", "Add container.docker.image, cmd or args", "/")
    if cmd is not None and len(cmd) < 2:
        yield refused("$.cmd", "is too short", "Write two characters or more, or remove it", "/")


@rule("AppValidation.dockerDockerContainerValidator, mesosContainerImageValidator")
def check_container_type(app: App) -> Iterator[Finding]:
    container = container_of(app)
    if engine_of(app) == "DOCKER" and "docker" not in container:
        yield refused("$.container.docker", "is missing", 'Add it with its image, or write "type": "MESOS"')
    if "appc" in container and ("docker" in container or engine_of(app) == "DOCKER"):
        yield refused("$.container.appc", "cannot be combined with docker", "Keep one of the two", "/container")


@rule("AppValidation.mesosDockerContainerValidator")
def check_pull_config(app: App) -> Iterator[Finding]:
    config, path = docker_of(app).get("pullConfig"), "$.container.docker.pullConfig"
    if config and engine_of(app) == "DOCKER":
        yield refused(path, "is not possible with a DOCKER container", 'Write "type": "MESOS", or remove it')
    elif config and config["secret"] not in app["secrets"]:
        yield refused(path, "names a secret that is not declared", "Declare it under secrets with its source")


@rule("ArtifactValidation.artifactUriIsValid")
def check_fetch(app: App) -> Iterator[Finding]:
    for index, artifact in enumerate(app["fetch"]):
        if not is_java_uri(artifact["uri"]):
            message = f"is {artifact['uri']!r}, which is not a valid URI"
            yield refused(f"$.fetch[{index}].uri", message, "Encode special characters with %")


@rule("AppValidation.validResourceLimits", "1.11")
def check_resource_limits(app: App) -> Iterator[Finding]:
    for name, limit in (app.get("resourceLimits") or {}).items():
        path = f"$.resourceLimits.{name}"
        if isinstance(limit, str):
            if limit != "unlimited":
                yield refused(path, f"is {limit!r}", 'Write a number or "unlimited"')
        elif limit < app[name]:
            yield refused(path, f"is {limit}, less than {name}", f"Write {app[name]} or more")


@rule("SecretValidation.secretValidator")
def check_secrets(app: App) -> Iterator[Finding]:
    for name in app["secrets"]:
        if not name:
            yield refused("$.secrets['']", "has an empty name", "Name the secret", "/secrets")


@rule("EnvVarValidation.envValidator, SecretValidation.secretValidator")
def check_env(app: App) -> Iterator[Finding]:
    for name, value in app["env"].items():
        if not name:
            yield refused("$.env['']", "has an empty name", "Name the variable", "/env")
        if isinstance(value, Mapping) and value["secret"] not in app["secrets"]:
            message = f"uses the secret {value['secret']!r}, which is not declared"
            yield refused(at("$.env", name), message, "Declare it under secrets with its source", f"/env/{name}/secret")


@rule("ResourceRole.validAcceptedResourceRoles")
def check_accepted_roles(app: App) -> Iterator[Finding]:
    roles, path = app.get("acceptedResourceRoles"), "$.acceptedResourceRoles"
    if roles is None:
        return
    if not roles:
        yield refused(path, "is empty", 'Write ["*"], or remove it')
    for role in roles:
        if role in ("", ".", "..") or role.startswith("-") or re.search("[\t\n\x0b\x0c\r /\x7f]", role):
            yield refused(path, f"has {role!r}, which is not a role name", "Use a name without spaces and slashes")
    if "residency" in app and roles != ["*"]:
        yield refused(path, "has another role than * beside persistent volumes", 'Write ["*"]')


@rule("RoleSettings.forService; AppDefinition.validWithRoleEnforcement; ResourceRole.validForRole", "1.11")
def check_roles(app: App) -> Iterator[Finding]:
    """Marathon 1.8 and later: a role is the default one or that of the top folder (marathon: RoleSettings.scala)."""
    folders = app["id"].split("/")[1:-1]
    allowed = {"*", *folders[:1]}
    role = app.get("role", "*")
    if role not in allowed:
        yield refused("$.role", f"is {role!r}", f"Use {' or '.join(sorted(allowed))}, or remove it")
    elif role == "*" and any("persistent" in volume for volume in container_of(app).get("volumes", ())):
        remedy = f'Write "{folders[0]}", the top folder' if folders else "Put the app into a folder, and write its name"
        yield refused("$.role", "is *, which persistent volumes cannot have", remedy)
    accepted = app.get("acceptedResourceRoles") or []
    if not set(accepted) <= {"*", role}:
        path = "$.acceptedResourceRoles"
        yield refused(path, f"has a role other than {' and '.join(sorted({'*', role}))}", "Remove the other roles")


@rule("AppValidation.complyWithGpuRules")
def check_gpus(app: App) -> Iterator[Finding]:
    if app["gpus"] > 0 and engine_of(app) == "DOCKER":
        yield refused(
            "$.gpus", "are not possible with a DOCKER container", 'Write "type": "MESOS", or remove gpus', "/"
        )


@rule("AppValidation.complyWithMigrationAPI")
def check_migration_labels(app: App) -> Iterator[Finding]:
    name, labels = "DCOS_MIGRATION_API_VERSION", app["labels"]
    others = ("DCOS_PACKAGE_FRAMEWORK_NAME", "DCOS_MIGRATION_API_PATH")
    if labels.get(name) and (labels[name] != "v1" or not all(labels.get(other) for other in others)):
        yield refused(f"$.labels.{name}", "is not complete", f"Write v1, and set {' and '.join(others)}", "/")


@rule("SchedulingValidation.complyWithSingleInstanceLabelRules, validForSingleInstanceApps")
def check_single_instance(app: App) -> Iterator[Finding]:
    path = "$.labels.MARATHON_SINGLE_INSTANCE_APP"
    if app["labels"].get("MARATHON_SINGLE_INSTANCE_APP") != "true":
        return
    if app["instances"] > 1:
        yield refused(path, "allows one instance only", "Set instances to 1, or remove the label", "/")
    strategy = app.get("upgradeStrategy") or {"minimumHealthCapacity": 1}
    if any(strategy.values()):
        remedy = "Set both capacities of upgradeStrategy to 0, or remove the label"
        yield refused(path, "requires an upgradeStrategy of zeros", remedy, "/isSingleInstance")


@rule("SchedulingValidation.validForResidentTasks, requireUnreachableDisabledForResidentTasks")
def check_resident(app: App) -> Iterator[Finding]:
    """An app with persistent volumes, or with `residency`, has its own upgrade and unreachable strategies."""
    if "residency" not in app:
        return
    if (app.get("upgradeStrategy") or {"maximumOverCapacity": 0})["maximumOverCapacity"] != 0:
        yield refused("$.upgradeStrategy.maximumOverCapacity", "is not 0 beside persistent volumes", "Write 0")
    if isinstance(app.get("unreachableStrategy"), Mapping):
        yield refused("$.unreachableStrategy", "is not possible with persistent volumes", 'Write "disabled"', "/")


@rule("UnreachableEnabled.unreachableEnabledValidator")
def check_unreachable(app: App) -> Iterator[Finding]:
    strategy, path = app.get("unreachableStrategy"), "$.unreachableStrategy.inactiveAfterSeconds"
    if isinstance(strategy, Mapping) and strategy["inactiveAfterSeconds"] > strategy["expungeAfterSeconds"]:
        yield refused(path, "is greater than expungeAfterSeconds", "Write the same or less")


@rule("SchedulingValidation.complyWithAppConstraintRules; ConstraintConversion")
def check_constraints(app: App) -> Iterator[Finding]:
    for index, constraint in enumerate(app["constraints"]):
        problem = constraint_problem(constraint)
        if problem:
            yield refused(f"$.constraints[{index}]", *problem, "/constraints")


def constraint_problem(constraint: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with a constraint, and the remedy; None when Marathon accepts it."""
    if len(constraint) not in (2, 3):
        return f"has {len(constraint)} parts", "Write field, operator and, if the operator needs one, a value"
    field, operator, value = (*constraint, None)[:3]
    if not field:
        return "has an empty field", "Write the name of an agent's attribute, or hostname"
    if operator not in _OPERATORS:
        return f"has the operator {operator!r}", f"Use one of {', '.join(_OPERATORS)}"
    number = value is not None and re.fullmatch("[+-]?[0-9]{1,10}", value) and -(2**31) <= int(value) < 2**31
    wrong = {
        "UNIQUE": (value is not None, "UNIQUE has no value", "Remove the value"),
        "GROUP_BY": (value is not None and not number, "GROUP_BY needs a whole number", "Write a number, or no value"),
        "MAX_PER": (not number, "MAX_PER needs a whole number", "Write a number"),
        "LIKE": (not is_java_pattern(value), "LIKE needs a regular expression", "Write a valid one"),
        "UNLIKE": (not is_java_pattern(value), "UNLIKE needs a regular expression", "Write a valid one"),
        "IS": (
            not re.fullmatch("[a-zA-Z0-9_/.-]*", value or ""),
            "IS compares plain text",
            "Use letters, digits and _/.-",
        ),
    }.get(operator, (False, "", ""))
    return (f"is not valid: {wrong[1]}", wrong[2]) if wrong[0] else None
