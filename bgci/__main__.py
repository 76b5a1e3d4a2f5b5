"""``python -m bgci``, and the program ``bgci``."""

import os
import sys

from bgci import early_signals


def main() -> None:
    """The entry point."""
    early_signals.begin()
    open_streams()
    from bgci import cli

    cli.main()


def open_streams() -> None:
    """Open /dev/null for each of stdin, stdout and stderr that the caller has closed (``bgci status >&-``).

    Python has None there, and a file that is opened later would get the number and the output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    main()
