"""Property tests without a deadline: a first call may import torch's compiler, which takes seconds."""

import os

from hypothesis import settings

settings.register_profile(
    "fastwsi", deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "100"))
)
settings.load_profile("fastwsi")
