"""Commands ``sandbox up``, ``down`` and ``status``: a DC/OS on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bgci.options import Settings
from bgci.sandbox import control


def up(settings: Settings) -> None:
    """Start the sandbox in the background, and print the variables for a shell."""
    version = settings.marathon_version
    where = control.up(
        Path(settings.state_dir),
        replicas=settings.replicas,
        persist=settings.persist,
        secured=settings.secured,
        agents=settings.agents,
        agent_attributes=settings.agent_attributes,
        marathon_version="1.11" if version == "auto" else version,
    )
    print("\n".join(exports(where)))
    if "iam" in where:
        print(f"The superuser's name and password are in {where['iam']}.", file=sys.stderr)


def down(settings: Settings) -> None:
    """Stop the sandbox; delete its state unless --keep-state is given."""
    control.down(Path(settings.state_dir), keep_state=settings.keep_state)


def status(settings: Settings) -> None:
    """Print whether the sandbox runs, and its addresses."""
    found = control.status(Path(settings.state_dir))
    if settings.output == "json":
        print(json.dumps(found, indent=2, sort_keys=True))
    else:
        print("\n".join(f"{key}: {value}" for key, value in sorted(found.items())))


def exports(where: Mapping[str, Any]) -> list[str]:
    """Lines for a shell, after which every command finds the sandbox (inside and outside of jobs)."""
    replicas = " ".join(where["marathon_lb_urls"])
    variables = {"BGCI_CA_CERT": "ca_cert", "BGCI_PASSWORD_FILE": "password_file"}
    secured = [f'export {variable}="{where[name]}"' for variable, name in variables.items() if name in where]
    if secured:
        secured.append('export BGCI_USERNAME="bootstrapuser"')
    return [
        f'export BGCI_CLUSTER_URL="{where["cluster_url"]}"',
        f'export BGCI_MARATHON_LB_URL="{replicas}"',
        f'export BGCI_JOB_CLUSTER_URL="{where["cluster_url"]}"',
        f'export BGCI_JOB_MARATHON_LB_URL="{replicas}"',
        'export BGCI_JOB_IMAGE="bgci:latest"',  # any: a job of the sandbox is a process of this machine
        *secured,
    ]
