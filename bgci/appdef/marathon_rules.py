"""Which app definitions Marathon refuses: the shape of the RAML types, then a table of rules over several fields.

Marathon checks in three steps, and each step needs that the one before found nothing: the JSON reader, the rules for
deprecated fields, the rules for the canonical form. `check_marathon_rules` does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bgci.appdef import marathon_app_rules as app_rules
from bgci.appdef import marathon_deprecated_rules as deprecated
from bgci.appdef import marathon_port_rules as port_rules
from bgci.appdef.findings import Finding
from bgci.appdef.marathon_forms import canonical
from bgci.appdef.marathon_parts import App
from bgci.appdef.marathon_schema import LATEST, check_shape, read
from bgci.appdef.marathon_volumes import check_volumes


@dataclass(frozen=True)
class Rule:
    """A rule over several fields. source: where Marathon has it. versions: the Marathon versions that apply it."""

    source: str
    check: Callable[[App], Iterator[Finding]]
    versions: tuple[str, ...] = ("1.7", "1.11")


def check_marathon_rules(definition: App, version: str = LATEST) -> list[Finding]:
    """Everything in the definition that this version of Marathon refuses."""
    found = list(check_shape(definition, version))
    if found:
        return found
    app = read(definition, version)
    found = [finding for rule in DEPRECATED if version in rule.versions for finding in rule.check(app)]
    if found:
        return found
    app = canonical(app)
    return [finding for rule in CANONICAL if version in rule.versions for finding in rule.check(app)]


DEPRECATED = (
    Rule("AppValidation.validateOldAppAPI: uris", deprecated.check_uris),
    Rule(
        "AppValidation.validateOldAppAPI: networks; AppNormalization.NetworkTranslation",
        deprecated.check_networks_twice,
    ),
    Rule("AppValidation.validateOldAppAPI: ports", deprecated.check_ports_twice),
    Rule("AppNormalization.migrateDockerPortMappings", deprecated.check_mappings_twice),
    Rule("AppNormalization.migrateIpDiscovery; AppValidation.validateOldAppAPI: ipAddress", deprecated.check_discovery),
    Rule("AppValidation.validOldContainerAPI", deprecated.check_mesos_docker),
)
CANONICAL = (
    Rule("PathId.pathIdValidator, PathId.nonEmptyPath", app_rules.check_id),
    Rule("PathId.pathIdValidator; RootGroup.dependencyGraph", app_rules.check_dependencies),
    Rule(
        "AppDefinition.containsCmdArgsOrContainer; AppValidation.validateCanonicalAppAPI: cmd", app_rules.check_command
    ),
    Rule("AppValidation.dockerDockerContainerValidator, mesosContainerImageValidator", app_rules.check_container_type),
    Rule("AppValidation.mesosDockerContainerValidator", app_rules.check_pull_config),
    Rule("AppValidation.portMappingsValidator", port_rules.check_port_mappings),
    Rule("AppValidation.portDefinitionsValidator", port_rules.check_port_definitions),
    Rule(
        "NetworkValidation.ramlNetworksValidator, AppValidation.complyWithDockerNetworkingRules",
        port_rules.check_networks,
    ),
    Rule(
        "AppValidation.portIndexIsValid, complyWithIpProtocolRules; HealthCheckConversion",
        port_rules.check_health_checks,
    ),
    Rule(
        "AppDefinition.containsNoChecksWithDocker, checkPortIndexIsValid; CheckConversion",
        port_rules.check_mesos_check,
        ("1.11",),
    ),
    Rule("AppValidation.readinessCheckValidator", port_rules.check_readiness_checks),
    Rule("ArtifactValidation.artifactUriIsValid", app_rules.check_fetch),
    Rule("AppValidation.validResourceLimits", app_rules.check_resource_limits, ("1.11",)),
    Rule("SecretValidation.secretValidator", app_rules.check_secrets),
    Rule("EnvVarValidation.envValidator, SecretValidation.secretValidator", app_rules.check_env),
    Rule("ResourceRole.validAcceptedResourceRoles", app_rules.check_accepted_roles),
    Rule(
        "RoleSettings.forService; AppDefinition.validWithRoleEnforcement; ResourceRole.validForRole",
        app_rules.check_roles,
        ("1.11",),
    ),
    Rule("AppValidation.complyWithGpuRules", app_rules.check_gpus),
    Rule("AppValidation.complyWithMigrationAPI", app_rules.check_migration_labels),
    Rule(
        "SchedulingValidation.complyWithSingleInstanceLabelRules, validForSingleInstanceApps",
        app_rules.check_single_instance,
    ),
    Rule(
        "SchedulingValidation.validForResidentTasks, requireUnreachableDisabledForResidentTasks",
        app_rules.check_resident,
    ),
    Rule("UnreachableEnabled.unreachableEnabledValidator", app_rules.check_unreachable),
    Rule("SchedulingValidation.complyWithAppConstraintRules; ConstraintConversion", app_rules.check_constraints),
    Rule(
        "AppValidation.validVolume; DVDIProviderValidations; LinuxInfo.validLinuxInfoForContainerState", check_volumes
    ),
)
