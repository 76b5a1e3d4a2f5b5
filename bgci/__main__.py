"""``python -m bgci``, and the program ``bgci``."""

from bgci import early_signals


def main() -> None:
    """The entry point."""
    early_signals.begin()
    from bgci import cli

    cli.main()


if __name__ == "__main__":
    main()
