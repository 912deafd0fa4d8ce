"""Slow, obvious numpy versions of every kernel. They import nothing of fastwsi."""
