"""A whole DC/OS in one process on virtual time: the shipped commands run against the sandbox's own Marathon and
Metronome and a model of marathon-lb with HAProxy. One release takes some tens of milliseconds.

Start with ``world.World``, then ``scenario.play``. Nothing here sleeps, opens a port or starts a process.
"""
