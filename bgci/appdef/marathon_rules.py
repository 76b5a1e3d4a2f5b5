"""Which app definitions Marathon refuses: the shape of the RAML types, then the rules over several fields.

Marathon checks in three steps, and each step needs that the one before found nothing: the JSON reader, the rules for
deprecated fields, the rules for the canonical form. `check_marathon_rules` does the same. The rules are functions of
the modules that are imported here; each names its source in Marathon.
"""

from __future__ import annotations

from bgci.appdef import marathon_app_rules, marathon_deprecated_rules, marathon_port_rules, marathon_volumes  # noqa: F401
from bgci.appdef.findings import Finding
from bgci.appdef.marathon_forms import canonical
from bgci.appdef.marathon_parts import CANONICAL, DEPRECATED, App
from bgci.appdef.marathon_schema import LATEST, check_shape, read


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
