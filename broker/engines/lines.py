"""What one piece of work has open on other servers: sessions and tools, to be cut off all at once.

Whoever waits for a server that hangs sees nothing and hears nothing, not even that the work is to
stop. So another thread cuts the lines, and each wait ends with an error as if the server had gone.
What must stay true: what is opened after the cut is cut too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Lines:
    """Safe among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cuts: dict[object, Callable[[], None]] = {}
        self._are_cut = False

    def hold(self, cut: Callable[[], None]) -> Callable[[], None]:
        """Remember how something is cut off; returns what forgets it."""
        mark = object()
        with self._lock:
            self._cuts[mark] = cut
            at_once = self._are_cut
        if at_once:
            cut()
        return lambda: self._forget(mark)

    def _forget(self, mark: object) -> None:
        with self._lock:
            self._cuts.pop(mark, None)

    def cut(self) -> None:
        """Cut all of them off, for good. No cut raises."""
        with self._lock:
            self._are_cut = True
            cuts = list(self._cuts.values())
        for cut in cuts:
            cut()
