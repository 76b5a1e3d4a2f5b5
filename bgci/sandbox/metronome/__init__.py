"""Metronome v1: jobs whose runs leave ``/runs`` at their end and enter the history a little later."""
