"""Converts a client's app definition to the stored one (marathon: AppsResource.scala, AppHelpers.scala)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bgci.sandbox.marathon import paths, validate
from bgci.sandbox.marathon.dialect import DEFAULT_ROLE, Dialect
from bgci.sandbox.marathon.normalize import Refusal, canonical, canonical_update, filled, stored
from bgci.sandbox.marathon.raml import Errors

Json = dict[str, Any]


def create(body: Any, dialect: Dialect, app_id: str | None = None) -> Json:
    """The definition of a new app, or of a complete replacement, as it is stored. Raises Refusal."""
    if app_id is not None and isinstance(body, dict):
        body = {**body, "id": app_id}
    app = _read(dialect.app.read, body)
    app.pop("version", None)
    return _accept(_absolute(app), dialect, None)


def update(body: Any, current: Mapping[str, Any], dialect: Dialect) -> Json:
    """The definition after a partial update: each given field replaces the old one as a whole. Raises Refusal."""
    given = _absolute(_read(dialect.app.partial().read, body))
    changes = canonical_update(given)
    _refuse("Object is not valid", validate.update_errors(given))
    changes.pop("id", None)
    # marathon: AppConversion.scala appUpdateRamlReader clears these two in every update that omits them.
    kept = {name: value for name, value in current.items() if name not in ("executorResources", "resourceLimits")}
    return _accept({**kept, **changes}, dialect, current.get("role"))


def _absolute(app: Json) -> Json:
    given = dict(app)
    if "id" in given:
        given["id"] = paths.absolute(given["id"])
    if "dependencies" in given:
        given["dependencies"] = [paths.absolute(dependency) for dependency in given["dependencies"]]
    return given


def _accept(app: Json, dialect: Dialect, old_role: str | None) -> Json:
    _refuse("Object is not valid", validate.deprecated_errors(app))
    app = canonical(app)
    roles = None
    if dialect.modern:
        app.setdefault("role", DEFAULT_ROLE)
        roles = {role for role in (DEFAULT_ROLE, paths.top_group(app["id"]), old_role) if role}
    _refuse("Object is not valid", validate.canonical_errors(app, roles))
    full = stored(filled(app), modern=dialect.modern)
    _refuse("Object is not valid", validate.model_errors(full, checks=dialect.modern))
    return full


def _read(read: Callable[[Any, str, Errors], Any], body: Any) -> Json:
    errors: Errors = {}
    app: Json = read(body, "", errors)
    _refuse("Invalid JSON", errors)
    return app


def _refuse(message: str, errors: Errors) -> None:
    """422 with the errors of each path."""
    if errors:
        details = [{"path": path, "errors": texts} for path, texts in errors.items()]
        raise Refusal(422, {"message": message, "details": details})
