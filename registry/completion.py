"""Answers while a person types a command: soon, or not at all."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Sequence
from queue import Empty, Queue

ANSWER_SECONDS = 0.9


def soon(ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Return the answer; nothing if it fails, or takes long."""
    answers: Queue[Sequence[str]] = Queue()

    def put() -> None:
        # In the middle of a command line an error, or a warning of a library, helps nobody.
        answer: Sequence[str] = []
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
            answer = ask()
        answers.put(answer)

    threading.Thread(target=put, daemon=True).start()
    try:
        return answers.get(timeout=ANSWER_SECONDS)
    except Empty:
        return []
