"""Adapters to DC/OS: Marathon, Metronome, marathon-lb, logins and TLS. Raw JSON of a server ends here.

May import: checks and below; not reporting. Start with ``cluster.connect``.
"""
