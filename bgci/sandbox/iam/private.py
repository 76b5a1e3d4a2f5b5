"""Files that only their owner can read."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write(path: Path, content: str) -> None:
    """Writes the file with mode 0600 from its creation; a missing directory is made with mode 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.tmp")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    scratch.replace(path)


def write_credentials(path: Path, uid: str, password: str) -> None:
    write(path, json.dumps({"uid": uid, "password": password}) + "\n")


def read_credentials(path: Path) -> tuple[str, str]:
    """User and password of a JSON file ``{"uid": ..., "password": ...}``: a password may hold any character."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return str(found["uid"]), str(found["password"])
