"""Output for users and CI systems: console, JUnit, artifacts, journal, summaries and the report page.

May import: checks and below; not dcos. Start with ``console.Console`` and ``ci_systems.Ci``.
"""
