"""The checkup of a cluster, an account and an app: each finding with its remedy.

May import: operations and below. Start with ``examination.Examination``.
"""
