"""Operations of several commands: the rollout driver, job runs, rendering, canary analysis, the execution context.

Start with ``context.stage`` (every command runs in it), then ``goal.reach`` (by job: ``job_run``; directly:
``rollout_driver``), then ``observer`` and ``performer``. ``rendering`` and ``planning`` prepare release and goal.
May import: dcos, reporting and below.
"""
