"""The release engine: what was observed, what is wanted, and the one next step. Pure: no I/O, no clock.

May import: errors, redaction. Start with ``plan.decide``.
"""
