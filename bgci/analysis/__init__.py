"""The statistics of the canary's judge: error rates, response times, error budgets. Pure.

Start with ``e_process.EProcess`` (one sequential test), then ``judge.Judge`` (three of them on error counts) and
``latency``; docs/judge.md explains the method. May import: errors, redaction.
"""
