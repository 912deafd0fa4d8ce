"""Locks that a forked child does not inherit as they are: whoever held one is not there to release it."""

from __future__ import annotations

import os
import threading


class ForkedLock:
    """A lock that is new in each forked child.

    Examples
    --------
    >>> with REOPENING.lock:
    ...     pass
    """

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Start over."""
        self.lock = threading.Lock()


REOPENING = ForkedLock()
"""Under which a child opens its slides anew."""
