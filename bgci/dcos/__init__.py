"""Adapters to DC/OS: Marathon, Metronome, marathon-lb, logins and TLS. They return typed values: no raw JSON above.

Start with ``cluster.connect``, then ``marathon`` with ``running_app``, ``marathon_lb`` and ``metronome``. All requests
go through ``http.Http``. May import: checks and below; not reporting.
"""
