"""Kills the sandbox's processes when the sandbox ends without doing so itself (``kill -9``).

It reads ``+<process group>`` and ``-<process group>`` lines from its standard input, which only the sandbox writes to,
and at the end of that input kills every group still listed. A parent-death signal would reach only a child;
this also reaches the processes of a job's shell.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
