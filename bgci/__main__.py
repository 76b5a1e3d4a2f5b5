"""``python -m bgci``."""

from bgci.cli import main

main()
