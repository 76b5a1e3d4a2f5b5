"""Two commands of one app at once: one continues, the other is refused with the owner's name, or waits
(docs/lock.md)."""

from __future__ import annotations

from collections.abc import Callable

from e2e.lab import App, until

CI = {
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "shop/web",
    "CI_PIPELINE_ID": "12",
    "CI_JOB_NAME": "release",
    "CI_JOB_URL": "https://gitlab.example.com/shop/web/-/jobs/345",
}


NEVER = {"SANDBOX_HEALTH_AFTER": "600"}  # a revision that its release waits for, until the test ends that


def hand_made(app: App, **labels: str) -> str:
    """A lock of another machine, whose owner was killed."""
    lock_id = f"{app.id}-lock-0123456789"
    own = {"BGCI_LOCK_OF": app.id, **labels}
    app.lab.marathon.create({"id": lock_id, "instances": 0, "cpus": 0.01, "mem": 32, "cmd": "true", "labels": own})
    return lock_id


def test_h65_of_two_releases_the_second_is_refused_with_the_owner_of_the_lock_or_waits(
    make_app: Callable[..., App],
) -> None:
    app, other = make_app(2), make_app(1)
    app.promote("v1")
    app.write("v2", env=NEVER)
    first = app.start("release", "v2", **CI)
    until(lambda: len(app.apps()) == 2)
    refused = app.run("release", "v3", expect=6, BGCI_ARTIFACTS="refused")
    for part in ("`bgci release` of v2", "GitLab pipeline 12 of shop/web", CI["CI_JOB_URL"], "--lock-timeout"):
        assert part in refused.text
    assert "`bgci release` of v2" in app.rollback("v2", expect=6, BGCI_ARTIFACTS="refused").result["message"]
    (locked,) = app.status()["locks"]
    assert "`bgci release` of v2" in locked["owner"]
    assert "No lock" not in app.rollback("v2", "--dry-run", BGCI_ARTIFACTS="dry").text  # it needs none
    second = app.start("rollback", "v2", "--lock-timeout", "90s", BGCI_ARTIFACTS="second")
    # An app whose id begins alike never waits.
    other.id = other.definition["id"] = f"{app.id}-lock"
    other.promote("v1")
    assert second.process.poll() is None
    first.process.terminate()
    assert first.end().code == 143
    ended = second.end()
    assert ended.code == 0, ended.text
    assert "`bgci release` of v2" in ended.text
    assert app.healthy() == {"v1": 2}
    assert app.locks() == other.locks() == []


def test_h65_a_killed_holder_blocks_no_command_longer_than_its_lease(app: App) -> None:
    killed = app.start("promote", "v1")
    until(app.apps)
    killed.kill()
    assert len(app.locks()) == 1
    assert "Removed the abandoned lock of `bgci promote` of v1" in app.promote("v1").text  # same machine: at once
    unknown = hand_made(app)
    assert "unknown owner" in app.promote("v1", expect=6).text
    app.lab.marathon.delete(unknown)
    hand_made(app, BGCI_LOCK_WAY="process", BGCI_LOCK_COMMAND="promote", BGCI_LOCK_LEASE="4")
    assert "Removed the abandoned lock" in app.promote("v1", "--lock-timeout", "60s").text
    assert app.locks() == []


def test_h65_by_jobs_every_other_command_is_refused_and_the_job_enters(app: App) -> None:
    app.promote("v1")
    app.write("v2", env=NEVER)
    app.publish("v2")
    canary = app.start("canary", "v2", "--via", "job")
    until(lambda: len(app.apps()) == 2)
    assert len(app.locks()) == 2  # the follower's and the job's
    for command, options in (("publish", ()), ("rollback", ()), ("rollback", ("--via", "job")), ("prune", ())):
        revision = "" if command == "prune" else "v2"
        refused = app.run(command, revision, *options, expect=6, BGCI_ARTIFACTS="refused")
        assert "`bgci canary` of v2" in refused.text
    canary.kill()  # the job goes on; the rollback stops it
    app.rollback("v2", "--via", "job")
    assert app.healthy() == {"v1": 2}
    assert app.locks() == []
