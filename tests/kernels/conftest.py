"""Property tests without a deadline: a first call may import torch's compiler, which takes seconds."""

from hypothesis import settings

settings.register_profile("fastwsi", deadline=None)
settings.load_profile("fastwsi")
