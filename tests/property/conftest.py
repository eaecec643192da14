"""Hypothesis profiles: `ci` is the default and repeats exactly; HYPOTHESIS_PROFILE=explore looks further, with new examples each time."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=200)
settings.register_profile("explore", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
