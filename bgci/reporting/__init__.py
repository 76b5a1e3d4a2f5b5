"""Output for users and CI systems: console, JUnit, artifacts, journal, summaries and the report page.

May import: checks and below; not dcos. Start with ``console.Console`` (the log), ``artifacts.Artifacts``
(the files) and ``journal`` (the record of a rollout); ``timeline`` and ``page_model`` read the journal for the page.
"""
