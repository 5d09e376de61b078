"""Named points where a test kills this process, to see that what follows still ends as it must.

Nothing happens unless BROKER_CRASH_AT names the point in the environment of the process.
"""

from __future__ import annotations

import os
import signal

CRASH_VARIABLE = "BROKER_CRASH_AT"


def crash_point(name: str) -> None:
    """Die here, as by `kill -9`, if this point is named."""
    if os.environ.get(CRASH_VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
