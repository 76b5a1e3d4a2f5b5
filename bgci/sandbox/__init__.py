"""A DC/OS on this machine: Marathon, Metronome, IAM, secrets, and marathon-lb's rules on a real HAProxy.

Shares no code with the rest of bgci, so that a mistake of one is not a mistake of the other. Start with ``control.up``,
then ``server`` (one process: ``marathon``, ``metronome``, ``dcos``, ``iam``) and ``loadbalancer``. docs/sandbox.md.
"""
