"""The tests of tests/fuzz, driven by the branches that an input takes (Atheris, libFuzzer).

    python bench/fuzz.py --seconds 300               each target for five minutes (make fuzz)
    python bench/fuzz.py --target journal            the targets with this text in their name
    python bench/fuzz.py --target journal --input build/fuzz/crash-1f2e

A target is a test of tests/fuzz; Hypothesis makes its arguments of the bytes. The inputs of earlier nights are in
build/fuzz, and the next one continues from them. Atheris has no release for Python 3.10.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

MODULES = ("fuzz.test_answers", "fuzz.test_files")
FOUND = Path(__file__).resolve().parent.parent / "build" / "fuzz"
LONGEST = 4096  # bytes of an input
SLOW = 120  # seconds after which an input is a finding


def targets(words: str) -> Iterator[tuple[str, Any]]:
    for module in MODULES:
        for name, test in vars(importlib.import_module(module)).items():
            if name.startswith("test_") and words in name:
                yield name, test


def fuzz(name: str, seconds: int, file: str) -> None:
    """Ends the process. Without a file: so many seconds."""
    import atheris

    with atheris.instrument_imports(include=["bgci"], enable_loader_override=False):
        import bgci

        for module in pkgutil.walk_packages(bgci.__path__, "bgci."):
            if not re.search(r"\.sandbox|__main__", module.name):
                importlib.import_module(module.name)
    test = dict(targets(name))[name]
    corpus = FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOW}",
        f"-artifact_prefix={FOUND}/{name}-",
    ]
    quiet = ["-print_final_stats=1", "-verbosity=1", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *limits, *quiet, file or str(corpus)], test.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--input", default="")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.one or wanted.input:
        fuzz(next(iter(targets(wanted.target)))[0], wanted.seconds, wanted.input)
    worst = 0
    for name, _ in targets(wanted.target):
        words = [sys.executable, __file__, "--one", "--target", name, "--seconds", str(wanted.seconds)]
        ended = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        runs = re.search(r"number_of_executed_units: *([0-9]+)", ended.stderr)
        covered = re.findall(r"cov: ([0-9]+)", ended.stderr)
        print(
            f"{name:60} {runs[1] if runs else '?':>8} executions, {covered[-1] if covered else '?':>6} branches",
            flush=True,
        )
        if ended.returncode:
            worst = 1
            print(ended.stderr[-6000:], flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
