"""Doing a copy's tables side by side: the first failure ends what has not begun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

WORKERS = 2  # sessions on the tenant's server at once; more would be felt there
T = TypeVar("T")


def run_all(tasks: Sequence[Callable[[], T]], workers: int = WORKERS) -> list[T]:
    """Results in the order of the tasks. Raises what the first failing one raised."""
    with ThreadPoolExecutor(workers, thread_name_prefix="copy") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
