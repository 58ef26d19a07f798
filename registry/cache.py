"""Keeps the inventory's answers for a moment, so that many readers cost no more than one."""

import functools
import threading
from collections.abc import Callable

from cachetools import TTLCache, cached

CACHE_SECONDS = 1  # a removal has to be seen within two
CACHED_ANSWERS = 10  # a limit of the memory for all of them


def kept_for_a_moment[**P, T](ask: Callable[P, T]) -> Callable[P, T]:
    """Keep a question's answers and errors for a second; ask one at a time."""

    @cached(TTLCache(CACHED_ANSWERS, CACHE_SECONDS), condition=threading.Condition())
    def answer(*args: P.args, **kwargs: P.kwargs) -> T | Exception:
        try:
            return ask(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised below, for everybody who asks
            return error

    @functools.wraps(ask)
    def kept(*args: P.args, **kwargs: P.kwargs) -> T:
        found = answer(*args, **kwargs)
        if isinstance(found, Exception):
            raise found
        return found

    return kept
