"""Doing a copy's tables side by side, in lanes: a lane is what a thread keeps open between tables.

Opening sessions for each table would cost more than a small table's rows.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

WORKERS = 2  # sessions that read on the tenant's server at once; more would be felt there
L = TypeVar("L")
T = TypeVar("T")


def run_in_lanes(
    tasks: Sequence[Callable[[L], T]],
    open_lane: Callable[[], AbstractContextManager[L]],
    workers: int = WORKERS,
) -> list[T]:
    """Results in the order of the tasks, which are begun in that order.

    After a first failure nothing is begun any more; what is under way is waited for, and the
    failure raised.
    """
    todo = deque(enumerate(tasks))
    done: dict[int, T] = {}
    failed = threading.Event()

    def drive() -> None:
        try:
            with open_lane() as lane:
                while not failed.is_set() and todo:
                    try:
                        number, task = todo.popleft()
                    except IndexError:  # another lane was quicker
                        return
                    done[number] = task(lane)
        except BaseException:
            failed.set()
            raise

    lanes = min(workers, len(tasks))
    if lanes:
        with ThreadPoolExecutor(lanes, thread_name_prefix="copy") as pool:
            futures = [pool.submit(drive) for _ in range(lanes)]
        for future in futures:
            future.result()
    return [done[number] for number in range(len(tasks))]


def run_all(tasks: Sequence[Callable[[], T]], workers: int = WORKERS) -> list[T]:
    """The same, for tasks that keep nothing open."""

    def without_lane(task: Callable[[], T]) -> Callable[[None], T]:
        return lambda _: task()

    return run_in_lanes([without_lane(task) for task in tasks], nullcontext, workers)
