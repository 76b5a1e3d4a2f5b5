# The two commands of the README, and what developers use. Everything sets itself up.
.DEFAULT_GOAL := help
# Many tests wait, for a health check or a drain: more workers than cores. What is left of a long queue is shared.
PYTEST_WORKERS ?= 5
PARALLEL = -n $(PYTEST_WORKERS) --dist worksteal

.PHONY: help demo test lint unit prove prove-faults prove-signals fuzz bench-hostile bench-traffic ci-tools image-tools zipapp dist release release-tools lock coverage clean
help:
	@echo "make demo   the whole lab on this machine, under load"
	@echo "make test   every check and test"
	@echo "make lint   style, types and layers alone"
	@echo "make unit   the fast tests alone"
	@echo "make bench-traffic  100 swaps and 1,000,000 requests, or what is missing of them; PART=240 for as many seconds"
	@echo "make prove-faults  every fault at every request of a release, on virtual time (about three hours on one core; what is missing of it)"
	@echo "make prove-signals  20,000 signals at random moments of all stages, on virtual time, or what is missing of them (about an hour on one core)"
	@echo "make fuzz   each fuzz test for SECONDS=300, driven by the branches that an input takes; for the nights"
	@echo "make bench-hostile  memory and time of each command for each hostile answer; hours, PART=30 or SAMPLE=1 for less"
	@echo "make ci-tools  what the tests of the CI systems' wrappers run with; without it they are skipped"
	@echo "make image-tools  what the test of the container image is built with; without it it is skipped"
	@echo "make coverage  branches that the fast tests take, and those of the engine that they do not"
	@echo "make prove  every state of the engine's model, up to four instances at two load balancers (about an hour on one core; what is missing of it)"
	@echo "make zipapp  dist/bgci.pyz: bgci and all it needs in one file, for any Python 3.10 or later"
	@echo "make dist   a release's files in dist/: wheel, source distribution, bgci.pyz, bill of materials, checksums"
	@echo "make release VERSION=0.2.0  version, changelog, commit, tags and dist/; pushes nothing"
	@echo "make lock   write requirements.lock from pyproject.toml; UPGRADE=1 takes the newest versions"

.venv/ready: pyproject.toml requirements.lock tools/setup
	tools/setup
	@touch $@

demo: .venv/ready
	.venv/bin/bgci demo

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

unit: .venv/ready
	.venv/bin/pytest -q $(PARALLEL) tests/unit

bench-traffic: .venv/ready
	.venv/bin/python bench/traffic.py $(if $(PART),--seconds $(PART))

prove-faults: .venv/ready
	.venv/bin/python bench/faults.py

prove-signals: .venv/ready
	.venv/bin/python bench/signals.py

# Atheris has no release for Python 3.10.
fuzz: .venv/ready
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv/constraints.txt \
	    --editable '.[dev,fuzz]'
	.venv/bin/python bench/fuzz.py --seconds $(or $(SECONDS),300)

bench-hostile: .venv/ready
	.venv/bin/python bench/hostile.py $(if $(PART),--part $(PART)) $(if $(SAMPLE),--sample)

ci-tools: .venv/ready
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv/constraints.txt \
	    --editable '.[dev,ci,release]'
	tools/ci

image-tools:
	tools/image-tools

# Each part of the proof that was explored is a line of build/proof.jsonl, and is not explored again (docs/proof.md).
prove: .venv/ready
	.venv/bin/python tests/model/prove.py

zipapp: .venv/ready
	.venv/bin/python tools/zipapp

release-tools: .venv/ready
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint .venv/constraints.txt \
	    --editable '.[dev,release]'

dist: release-tools
	tools/dist

release: release-tools
	tools/release "$(VERSION)"

lock: release-tools
	tools/lock $(if $(UPGRADE),--upgrade)

# The tests that need no sandbox. The second table lists each line and each branch of the engine that none of them takes.
coverage: .venv/ready
	.venv/bin/pytest -q $(PARALLEL) --cov=bgci --cov-branch --cov-report= tests/unit tests/property tests/replay
	.venv/bin/coverage report --skip-covered --skip-empty --omit='bgci/sandbox/*'
	.venv/bin/coverage report --show-missing --include='bgci/engine/*'

test: lint
	.venv/bin/pytest -q $(PARALLEL)

clean:
	rm -rf .venv .tools build *.egg-info
