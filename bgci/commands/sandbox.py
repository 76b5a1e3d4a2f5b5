"""Commands ``sandbox up``, ``down`` and ``status``: a DC/OS on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

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
    print("\n".join(f'export {name}="{value}"' for name, value in control.variables(where).items()))
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
