"""The statistics of the canary's judge: error rates, response times, error budgets. Pure.

May import: errors, redaction. Start with ``judge.Judge``.
"""
