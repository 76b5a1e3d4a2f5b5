"""The release engine: it takes an observation and returns the next step. Pure: no I/O and no clock.

Start with ``rollout.Rollout``, which the driver calls, then ``rules.next_step``. ``observation`` holds facts,
``decisions`` goals and steps, ``memory`` what one run remembers, ``strategies`` and their rollback.
May import: errors, redaction.
"""
