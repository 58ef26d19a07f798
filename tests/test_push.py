"""The simulated queue keeps to the rules that its documentation names, and loses nothing."""

import itertools

import pytest

from tests.benchmarks.push import (
    INSTANCES,
    LONGEST_PAUSE,
    LONGEST_RETRY,
    PATIENCE,
    WINDOW,
    Measured,
    deliver,
)


def instance(concurrency: int = 1, start: float = 2, seconds: float = 0.1) -> Measured:
    """An instance that always takes the same time."""
    return Measured(concurrency, [start], [seconds], [seconds], [seconds])


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("seconds", [0.01, 1, 30])
def test_each_upload_gets_one_row_however_often_it_is_refused(seconds: float, warm: bool) -> None:  # noqa: FBT001 - a parameter of the table
    delivered = deliver(300, instance(seconds=seconds), warm=warm)

    assert len(delivered.seconds) == 300
    assert list(delivered.seconds) == sorted(delivered.seconds)


def test_one_upload_waits_for_a_start_and_for_itself() -> None:
    assert deliver(1, instance()).seconds == [2.1]
    assert deliver(1, instance(), warm=True).seconds == [0.1]


def test_the_first_events_of_an_instance_are_slow_and_an_event_alone_is_fast() -> None:
    measured = Measured(2, [0], [5], alone=[1], full=[3])

    assert deliver(2, measured).seconds == [5, 5]
    assert deliver(INSTANCES, measured, warm=True).seconds[:WINDOW] == [1] * WINDOW


def test_it_starts_with_few_requests_and_sends_more_with_each_success() -> None:
    delivered = deliver(WINDOW * 3, instance(concurrency=100), warm=True)

    assert delivered.seconds == pytest.approx([0.1] * WINDOW + [0.2] * WINDOW * 2)


def test_no_more_run_at_once_than_all_instances_take() -> None:
    delivered = deliver(1000, instance(concurrency=4), warm=True)

    assert delivered.quantile(1) >= 0.1 * 1000 / (4 * INSTANCES)


def test_a_start_for_each_instance_and_no_more_of_them_than_waiting_requests_need() -> None:
    few, many = deliver(WINDOW, instance(seconds=3)), deliver(200, instance(seconds=3))

    assert few.seconds == pytest.approx([5] * WINDOW)
    assert sum(seconds == pytest.approx(5) for seconds in many.seconds) == WINDOW
    assert many.refusals > 0


def test_who_waits_too_long_is_refused_and_a_refusal_stops_the_delivery_of_all_events() -> None:
    # Three, then five run. The sixth waits, from 30 to 40 s; it is the only answer then, and so
    # nothing is delivered for a minute, though it could come again after 10 s.
    delivered = deliver(12, instance(seconds=30), warm=True)

    refused = 30 + PATIENCE
    assert delivered.seconds == [30] * 3 + [60] * 5 + [refused + LONGEST_PAUSE + 30] * 4
    assert delivered.refusals == 1


def test_a_refusal_among_many_successes_stops_it_for_a_moment() -> None:
    delivered = deliver(3000, instance(seconds=0.05), warm=True)

    pauses = [after - before for before, after in itertools.pairwise(delivered.seconds)]
    assert delivered.refusals > 0
    assert max(pauses) < LONGEST_RETRY


def test_who_waits_for_a_slow_start_waits_for_three_and_a_half_of_them() -> None:
    assert deliver(WINDOW, instance(start=30)).refusals == 0


def test_faster_instances_are_refused_less_and_end_sooner() -> None:
    slow, fast = deliver(2000, instance()), deliver(2000, instance(concurrency=32, start=0.4))

    assert fast.refusals == 0 < slow.refusals
    assert fast.quantile(1) < slow.quantile(1) / 10
    assert fast.quantile(0.5) <= fast.quantile(0.99) <= fast.quantile(1)
