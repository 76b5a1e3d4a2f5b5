"""The opt-in records on GitHub: a deployment with its status, and a comment on the pull request.

``github.py begin`` before bgci runs, ``github.py end`` after it. Uses only Python's standard library. Every failure is
only a warning: a record must not fail a good release. ``GITHUB_TOKEN`` is in no other step of the action.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SECONDS = 20
MOST = 60_000  # characters: GitHub refuses a comment of more than 65,536
PAGES = 10  # of a hundred comments each, to look for an earlier one
MARK = "<!-- bgci {} -->"


def main() -> None:
    try:
        begin() if sys.argv[1:] == ["begin"] else end()
    except Exception as error:  # also an answer of another shape, and the errors of http.client
        told = error.read().decode(errors="replace")[:300] if isinstance(error, urllib.error.HTTPError) else ""
        why = f"{type(error).__name__}: {error} {told}"
        warn(f"{why}. Remedy: grant the permission that docs/github.md names, or leave the input out.")


def begin() -> None:
    """Creates the deployment, in progress; its id becomes the step's output ``id``."""
    name = os.environ["BGCI_ACTION_DEPLOYMENT"].strip()
    body = {
        "ref": os.environ["GITHUB_SHA"],
        "environment": name,
        "auto_merge": False,
        "required_contexts": [],
        "description": "bgci",
        "production_environment": name == "production",
    }
    made = call("POST", "deployments", body)
    number = str(int(made["id"]))
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"id={number}\n")
    status(number, "in_progress")


def end() -> None:
    """The deployment's last status, and the comment."""
    outputs = json.loads(os.environ["BGCI_ACTION_OUTPUTS"] or "{}")
    number = os.environ.get("BGCI_ACTION_DEPLOYMENT_ID")
    if number:
        # A dry run deploys nothing, so it has no record of a deployment.
        dry = outputs.get("dry-run") == "true"
        status(number, "inactive" if dry else "success" if outputs.get("result") == "ok" else "failure", outputs)
    wanted = os.environ.get("BGCI_ACTION_COMMENT", "").strip()
    if wanted == "true":
        comment(outputs)
    elif wanted not in ("", "false"):
        warn("the input comment is neither true nor false: no comment was written.")


def status(number: str, state: str, outputs: dict[str, str] | None = None) -> None:
    result = (outputs or {}).get("result", "")
    body = {"state": state, "log_url": run_url(), "description": f"bgci: {result or 'under way'}"}
    if (outputs or {}).get("url"):
        body["environment_url"] = (outputs or {})["url"]
    call("POST", f"deployments/{number}/statuses", body)


def comment(outputs: dict[str, str]) -> None:
    """One comment for each app and command: a later run of the same writes it again."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    number = (event.get("pull_request") or {}).get("number")
    if number is None:
        warn("the input comment is true, and this run does not belong to a pull request: no comment was written.")
        return
    inputs = {name: value.strip() for name, value in json.loads(os.environ["BGCI_ACTION_INPUTS"]).items()}
    mark = MARK.format(
        f"{inputs.get('command')} {inputs.get('app')} {inputs.get('working-directory')}".replace("--", "")
    )
    text = f"{mark}\n{body_of(inputs, outputs)}"
    text = text if len(text) <= MOST else f"{text[:MOST]}\n\n… cut: the whole plan is in the artifacts."
    earlier = next((one["id"] for one in comments(number) if ours(one, mark)), None)
    if earlier:
        call("PATCH", f"issues/comments/{earlier}", {"body": text})
    else:
        call("POST", f"issues/{number}/comments", {"body": text})


def ours(comment: dict[str, Any], mark: str) -> bool:
    """Every user can write our mark into a comment: comments of users stay."""
    return str(comment.get("body", "")).startswith(mark) and (comment.get("user") or {}).get("type") == "Bot"


def body_of(inputs: dict[str, str], outputs: dict[str, str]) -> str:
    if outputs.get("plan"):
        return f"{outputs['plan']}\n\n[The run]({run_url()})"
    about = f"`bgci {inputs.get('command')}`: **{outputs.get('result') or 'no result'}**"
    marked = "Dry run, nothing was changed. " if outputs.get("dry-run") == "true" else ""
    return f"{marked}{about}. [The run]({run_url()}) has its log, its summary and its artifacts."


def comments(number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for page in range(1, PAGES + 1):
        more = call("GET", f"issues/{number}/comments?per_page=100&page={page}")
        found += more
        if len(more) < 100:
            break
    return found


def run_url() -> str:
    return "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(os.environ)


def call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - the runner's own address
        "{GITHUB_API_URL}/repos/{GITHUB_REPOSITORY}/".format_map(os.environ) + path,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
        return json.load(reply)


def warn(message: str) -> None:
    text = message.replace("%", "%25").replace("\r", "").replace("\n", "%0A")
    print(f"::warning title=bgci action::The record on GitHub was not written: {text}")


if __name__ == "__main__":
    main()
