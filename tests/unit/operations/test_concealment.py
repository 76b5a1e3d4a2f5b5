"""Data of bgci that a test program can read."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, subprocess
from bgci.operations.concealment import conceal
conceal(["BGCI_TOKEN"])
command = ["sh", "-c", "tr '\\\\0' '\\\\n' < /proc/$PPID/environ"]
shown = subprocess.run(command, capture_output=True, env={"PATH": os.environ["PATH"]})
print(shown.stdout.decode(), os.environ["BGCI_TOKEN"] == "of-this-test")
"""


def test_the_environment_of_a_child_process_has_no_credential() -> None:
    environment = {**os.environ, "BGCI_TOKEN": "of-this-test"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "of-this-test" not in done.stdout
    assert done.stdout.endswith("True\n")
