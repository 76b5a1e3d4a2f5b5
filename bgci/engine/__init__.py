"""The release engine: it takes an observation of the cluster and returns the next step. Pure: no I/O and no clock.

Read in this order: ``observation`` (facts), ``decisions`` (goals and steps), ``rotation`` (which tasks marathon-lb
drains: the engine cannot choose them), ``situation`` (the view of the rules), ``rules.next_step`` (by goal and running
apps), ``strategies`` and ``removal``; last ``rollout.Rollout``, which the driver calls: rules + ``memory`` + deadlines.
``lock`` and ``ownership`` are separate: which command can change an app, and which apps belong to it.
May import: errors, redaction. docs/engine.md has the reasons, docs/glossary.md the words.
"""
