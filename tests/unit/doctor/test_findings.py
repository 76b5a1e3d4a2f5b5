"""The judgements of `bgci doctor`, each alone and without a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bgci.dcos.credentials import ServiceAccount, Token
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.marathon_lb import About
from bgci.dcos.permissions import Permission, needed
from bgci.dcos.running_app import RunningApp, running_app
from bgci.doctor import access, running_apps
from bgci.doctor.balancers import load_balancer
from bgci.doctor.finding import CheckResult, Status, counted, counts_text, failed, failure, ok, table, verdict, warning
from bgci.engine.ownership import Claim
from bgci.errors import BgciError, ConflictError, DeniedError, InvalidError, UnavailableError, UsageError

NOW = 1_700_000_000.0
TODAY = datetime(2026, 1, 1, tzinfo=timezone.utc)
GROUP, ALT = "HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT_ALT_PORT"
STARTED, TARGET = "HAPROXY_DEPLOYMENT_STARTED_AT", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"


def app(app_id: str = "/web-blue", port: int = 10101, **labels: str) -> RunningApp:
    """As Marathon shows it; ``BGCI_REVISION`` and the group are there unless a label says otherwise."""
    own = {"HAPROXY_GROUP": "external", GROUP: "web", "BGCI_REVISION": "v1", TARGET: "2", "HAPROXY_0_PORT": "10101"}
    raw = {
        "id": app_id,
        "instances": 2,
        "portDefinitions": [{"port": port}],
        "healthChecks": [{"protocol": "HTTP"}],
        "labels": {name: text for name, text in {**own, **labels}.items() if text},
    }
    return running_app(JsonAnswer(raw, "Marathon", "http://m"))


def changed(app: RunningApp, **fields: Any) -> RunningApp:
    """The app with other fields of the engine's app."""
    return replace(app, app=replace(app.app, **fields))


BLUE = app(**{STARTED: "2023-01-01T00:00:00.000", "HAPROXY_APP_ID": "/web"})
GREEN = app(
    "/web-green", 10102, **{STARTED: "2023-01-02T00:00:00.000", "HAPROXY_APP_ID": "/web", "BGCI_REVISION": "v2"}
)
DEFINITION = {
    "id": "/web",
    "portDefinitions": [{"port": 10101}],
    "labels": {"HAPROXY_GROUP": "external", GROUP: "web", ALT: "10102"},
}


def only(checks: list[CheckResult]) -> CheckResult:
    (check,) = checks
    return check


def worst(checks: list[CheckResult]) -> type[BgciError] | None:
    error = verdict(checks)
    return type(error) if error else None


# -- the table ------------------------------------------------------------------------------------------------------


def test_the_worst_failure_decides_the_exit_code() -> None:
    order = [UsageError, InvalidError, ConflictError, UnavailableError, DeniedError]
    checks: list[CheckResult] = [ok("a", "fine"), warning("b", "so", "do")]
    assert verdict(checks) is None
    for error in order:
        checks.append(failure("c", error, "bad", "mend"))
        assert worst(checks) is error
    assert "and 4 more failed" in str(verdict(checks))
    assert worst([failed("x", ZeroDivisionError("0"))]) is BgciError


def test_the_table_keeps_to_its_width_and_cuts_no_command() -> None:
    command = "bgci promote --app /team/web --revision " + "1" * 90
    rows = table([ok("tls", "word " * 40), warning("state", "found " * 30, "remedy " * 30, command)], 80)
    assert [row for row in rows if len(row) > 80] == [row for row in rows if row.endswith(command)]
    assert any(row.strip() == f"$  {command}" for row in rows)
    assert rows[0].startswith("ok       tls    word")


def test_text_of_a_server_stays_in_its_row() -> None:
    assert len(table([ok("x", "one\ntwo\rthree")], 80)) == 1


def test_a_row_is_never_a_command_of_a_ci_system() -> None:
    rows = table([failure("x", ConflictError, "word " * 12 + "::error::boo", "::set-output name=a::b")], 60)
    assert not [row for row in rows if row.strip().removeprefix("-> ").startswith("::")]


def test_the_summary_line_counts_each_outcome() -> None:
    assert counts_text([ok("a", ""), ok("b", ""), warning("c", "", "")]) == "2 ok, 1 warning"
    assert (counted(1, "task"), counted(2, "task")) == ("1 task", "2 tasks")


# -- the way there ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "verified", "outcome"),
    [(400, True, "ok"), (10, True, "warning"), (-1, True, "failure"), (400, False, "warning"), (-1, False, "failure")],
)
def test_a_certificate_is_judged_by_its_end_and_by_whether_it_was_verified(
    days: int, verified: bool, outcome: str
) -> None:
    check = access.certificate(TODAY + timedelta(days=days), "verified by --ca-cert", TODAY, verified=verified)
    assert check.status.value == outcome
    assert check.status is Status.OK or check.remedy


@pytest.mark.parametrize(("offset", "outcome"), [(0.3, "ok"), (-20, "ok"), (45, "warning"), (-3600, "warning")])
def test_a_clock_far_from_the_clusters_is_named_with_its_direction(offset: float, outcome: str) -> None:
    check = access.clock(offset, 0.5)
    assert check.status.value == outcome
    if outcome == "warning":
        assert ("ahead" if offset > 0 else "behind") in check.found


def test_a_login_has_account_and_expiry_and_a_token_that_expires_soon_is_a_warning() -> None:
    import jwt

    def header(left: float) -> str:
        return f"token={jwt.encode({'uid': 'ci', 'exp': NOW + left}, 'k' * 32, algorithm='HS256')}"

    assert access.session(None, "", NOW).status is Status.OK
    account = access.session(ServiceAccount("ci", "key"), header(60), NOW)
    assert account.status is Status.OK
    assert "service account ci" in account.found
    assert access.session(Token("x"), header(60), NOW).status is Status.WARNING
    assert access.session(Token("x"), header(86400), NOW).status is Status.OK
    assert "ci" in access.session(Token("x"), header(86400), NOW).found
    assert access.session(Token("opaque"), "token=opaque", NOW).status is Status.OK


# -- permissions ------------------------------------------------------------------------------------------------------


def test_each_missing_permission_has_a_row_with_the_command_that_grants_it() -> None:
    wanted = needed("/team/web", via_job=False).ci
    lack, there = access.permissions({**dict.fromkeys(wanted, True), wanted[0]: False})
    assert worst([lack, there]) is DeniedError
    assert lack.command == f"dcos security org users grant <account> {wanted[0]}"
    assert str(wanted[1]) in there.found


def test_an_unknown_permission_is_named_and_not_a_failure() -> None:
    check = only(access.permissions(dict.fromkeys(needed("/team/web", via_job=False).ci)))
    assert check.status is Status.SKIPPED
    assert "cannot be probed" in check.found


def test_a_missing_optional_permission_is_a_warning() -> None:
    log = Permission("dcos:adminrouter:ops:mesos", "full", "show the job's log", optional=True)
    assert only(access.permissions({log: False})).status is Status.WARNING


@pytest.mark.parametrize(
    ("have", "wanted", "covered"),
    [
        ("services:/team", "services:/team/web", True),
        ("services:/", "services:/team/web", True),
        ("services:/team", "services:/teams", False),
        ("services:/team/web", "services:/team", False),
        ("a:jobs:team.web", "a:jobs:/team/web", True),
        ("a:jobs", "a:jobs:team", True),
        ("a:jobs:team", "a:jobs", False),
        ("dcos:secrets:list:default:/", "dcos:secrets:list:default:/team", True),
    ],
)
def test_a_permission_covers_what_is_below_it(have: str, wanted: str, covered: bool) -> None:
    assert access.covers(have, wanted) is covered


def test_full_covers_every_action_and_a_superuser_everything() -> None:
    one = Permission("x:/team", "delete", "")
    assert access.granted(one, [("x:/team", "full")])
    assert access.granted(one, [("dcos:superuser", "full")])
    assert not access.granted(one, [("x:/team", "update"), ("x:/other", "full")])


def test_a_secret_of_another_folder_is_refused_with_the_right_place() -> None:
    assert access.space("team/sa", "/team/web") is None
    assert access.space("sa", "/team/web") is None
    wrong = access.space("other/sa", "/team/web")
    assert wrong is not None
    assert "team/bgci-service-account" in wrong.remedy


# -- what the template wants ------------------------------------------------------------------------------------------


def test_a_group_of_another_app_is_a_conflict() -> None:
    assert running_apps.taken_group([BLUE, GREEN], Claim("/web", "web")).status is Status.OK
    other = app("/shop-blue", HAPROXY_APP_ID="/shop")
    taken = running_apps.taken_group([BLUE, other], Claim("/web", "/web"))
    assert taken.error is ConflictError
    assert "/shop-blue" in taken.found


def test_h51_an_app_of_another_name_in_the_group_is_a_conflict_however_it_was_deployed() -> None:
    foreign = app("/old-site", BGCI_REVISION="", HAPROXY_APP_ID="")
    assert running_apps.taken_group([foreign], Claim("/web", "web")).error is ConflictError


@pytest.mark.parametrize(
    ("other", "port"),
    [
        (app("/shop", 10102, **{GROUP: "shop", "HAPROXY_0_PORT": ""}), "10102"),  # on the second colour's port now
        (app("/shop", 9, **{GROUP: "shop", "HAPROXY_0_PORT": "10101"}), "10101"),  # answers on the first one
        (app("/shop", 9, **{GROUP: "shop", "HAPROXY_0_PORT": "", ALT: "10101"}), "10101"),  # will, with its next colour
    ],
)
def test_a_port_that_another_app_holds_or_will_hold_is_a_conflict(other: RunningApp, port: str) -> None:
    check = only(running_apps.taken_ports([BLUE, GREEN, other], "/web", DEFINITION))
    assert check.error is ConflictError
    assert port in check.found
    assert "/shop" in check.found


def test_the_same_port_at_other_load_balancers_or_at_none_is_free() -> None:
    inside = app("/shop", 10102, **{GROUP: "shop", "HAPROXY_0_PORT": "", "HAPROXY_GROUP": "internal"})
    nowhere = app("/cron", 10102, **{GROUP: "", "HAPROXY_0_PORT": "", "HAPROXY_GROUP": ""})
    assert only(running_apps.taken_ports([BLUE, inside, nowhere], "/web", DEFINITION)).status is Status.OK


# -- what runs --------------------------------------------------------------------------------------------------------


def test_one_revision_or_none_has_no_finding() -> None:
    assert running_apps.state("/web", []).status is Status.OK
    assert "v1" in running_apps.state("/web", [BLUE]).found


def test_a_hybrid_without_a_deployment_is_a_warning_with_promote_and_rollback() -> None:
    check = running_apps.state("/web", [GREEN, BLUE])
    assert check.status is Status.WARNING
    assert check.command == "bgci promote --app /web --revision v2"
    assert "rollback" in check.remedy


def test_a_hybrid_with_a_deployment_is_an_active_release() -> None:
    assert running_apps.state("/web", [changed(GREEN, deployments=("d1",)), BLUE]).status is Status.OK


def test_three_apps_or_two_indistinguishable_apps_are_a_conflict() -> None:
    assert running_apps.state("/web", [BLUE, GREEN, app("/web-red")]).error is ConflictError
    assert running_apps.state("/web", [app("/a"), app("/b")]).error is ConflictError


def test_h57_a_deployment_that_never_ends_is_shown_with_the_command_that_cancels_it() -> None:
    caught = changed(BLUE, deployments=("d1",))
    strategy = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}
    for checks, told in (([{"protocol": "HTTP"}], True), ([{"protocol": "MESOS_HTTP"}], False)):
        definition = {**caught.definition, "healthChecks": checks, "upgradeStrategy": strategy}
        check = running_apps.state("/web", [replace(caught, definition=definition)])
        assert ("it never ends" in check.remedy) is told
        assert check.command == "dcos marathon deployment rollback d1"


def test_a_deployment_that_holds_the_lock_is_named() -> None:
    check = running_apps.state("/web", [changed(BLUE, deployments=("d1",))])
    assert check.status is Status.WARNING
    assert "d1" in check.found


def test_start_times_in_both_forms_stop_marathon_lb() -> None:
    """Hazard 33."""
    zoned = app("/web-green", **{STARTED: "2023-01-02T00:00:00Z"})
    check = only(running_apps.start_times([BLUE, zoned], NOW))
    assert check.error is ConflictError
    assert "time zone" in check.found


def test_an_invalid_start_time_is_a_conflict() -> None:
    assert only(running_apps.start_times([app(**{STARTED: "yesterday"})], NOW)).error is ConflictError


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("2023-01-01T00:00:00.000000", "ok"), ("2023-01-01T00:00:00+02:00", "ok"), ("2099-01-01T00:00:00", "warning")],
)
def test_a_start_time_of_another_tool_is_reported(text: str, outcome: str) -> None:
    """Hazard 13."""
    check = only(running_apps.start_times([app(**{STARTED: text, "BGCI_REVISION": ""})], NOW))
    assert check.status.value == outcome


def test_start_times_of_bgci_have_no_row() -> None:
    assert running_apps.start_times([BLUE, GREEN], NOW) == []


def test_an_app_outside_of_the_templates_group_is_a_conflict() -> None:
    for labels in ({GROUP: "", "BGCI_REVISION": ""}, {GROUP: "other"}):
        check = only(running_apps.baselines("/web", "web", [app(**labels)]))
        assert check.error is ConflictError
        assert check.command == "bgci doctor --app /web --adopt"


def test_a_foreign_baseline_without_a_target_label_is_reported_with_its_consequences() -> None:
    """Hazard 9."""
    assert only(running_apps.baselines("/web", "web", [app(BGCI_REVISION="")])).status is Status.OK
    check = only(running_apps.baselines("/web", "web", [app(**{"BGCI_REVISION": "", TARGET: ""})]))
    assert check.status is Status.WARNING
    assert "rolling" in check.remedy


def test_a_manually_scaled_app_has_a_stale_target() -> None:
    """Hazard 8."""
    check = only(running_apps.baselines("/web", "web", [changed(BLUE, instances=5)]))
    assert check.status is Status.WARNING
    assert "5" in check.found


def test_a_missing_health_check_is_a_warning() -> None:
    """Hazard 15."""
    assert (
        only(running_apps.baselines("/web", "web", [changed(BLUE, has_health_checks=False)])).status is Status.WARNING
    )


def test_named_vips_are_listed_and_those_of_one_colour_are_a_warning() -> None:
    def with_vip(value: str) -> RunningApp:
        return replace(BLUE, definition={"portDefinitions": [{"port": 1, "labels": {"VIP_0": value}}]})

    assert running_apps.virtual_addresses("/web", [with_vip("10.0.0.1:80")]) == []
    assert only(running_apps.virtual_addresses("/web", [with_vip("/web:80")])).status is Status.OK
    assert only(running_apps.virtual_addresses("/web", [with_vip("/web-blue:80")])).status is Status.WARNING


def test_without_an_app_all_apps_are_checked_and_only_problems_are_listed() -> None:
    fine = app("/shop-blue", **{GROUP: "shop", STARTED: "2023-01-01T00:00:00"})
    first, *rest = running_apps.everything([BLUE, GREEN, fine, app("/cron", **{GROUP: ""})], NOW)
    assert "readable apps: 4, deployment groups: 2, of two colours: 1" in first.found
    assert [check.name for check in rest] == ["state"]


@pytest.mark.parametrize(
    ("about", "status", "part"),
    [
        (About("2.0.17", 0, lone=False), Status.OK, "HAProxy 2.0.17"),
        (About("", 2, lone=False), Status.OK, "of unknown version; 2 older workers can still hold sessions"),
        (About("2.6", 0, lone=True), Status.WARNING, "without a master process"),
        (About("2.6", 0, lone=False, forking_threads=4), Status.WARNING, "it has 4 threads, so each request for"),
    ],
)
def test_h64_a_load_balancer_is_judged_by_its_processes_and_threads(about: About, status: Status, part: str) -> None:
    check = load_balancer("http://lb:9090", about)
    assert check.status is status
    assert part in check.found
    assert bool(check.remedy) == (status is Status.WARNING)
