"""What several commands do: the rollout driver, job runs, rendering, canary analysis, the execution context.

May import: dcos, reporting and below. Start with ``context.stage``, then ``goal.reach``.
"""
