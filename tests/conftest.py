"""How Hypothesis works here: the same examples in each run, so that what lands does not depend on luck.

``HYPOTHESIS_PROFILE=explore`` draws new ones, more of them: for the nights, and after a change of what they test.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("settled", derandomize=True)
settings.register_profile("explore", max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "settled"))
