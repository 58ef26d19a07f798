"""The registry's table in BigQuery, when BigQuery is well and when it is not."""

import contextlib
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry import clients
from registry.errors import AppendFailed
from registry.settings import Settings
from registry.table import _RETRY, RegistryTable
from tests.events import registration
from tests.servers import bigquery as server
from tests.servers.bigquery import Answer, BigQueryServer

ATTEMPT_SECONDS = 10
BOUND_SECONDS = 45


def connect(
    bigquery: BigQueryServer, monkeypatch: pytest.MonkeyPatch, *, threads: int = 1
) -> RegistryTable:
    """Make the table as the function does."""
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery.url)
    settings = Settings(project="acme", table="ml_registry.models", emulated=True, threads=threads)
    return RegistryTable(clients.connect(settings), settings.table, threads=threads)


def test_a_row_is_sent_with_its_insert_id_and_no_column_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server.bigquery_server() as bigquery:
        connect(bigquery, monkeypatch).append(registration())

    [request] = bigquery.requests
    assert request.path.startswith(
        "/bigquery/v2/projects/acme/datasets/ml_registry/tables/models/insertAll"
    )
    assert request.body == {
        "rows": [{"insertId": registration().insert_id, "json": registration().row()}],
        "ignoreUnknownValues": False,
    }


# --- Columns that the table lacks, or that BigQuery's streaming does not know yet -----------------

ALL = list(registration().row())
NINE = ALL[:9]


def test_a_table_that_takes_its_rows_is_never_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with server.bigquery_server() as bigquery:
        table = connect(bigquery, monkeypatch)
        for generation in range(5):
            table.append(registration(generation=generation))

    assert (bigquery.looks, len(bigquery.requests), len(bigquery.rows)) == (0, 5, 5)


def test_an_old_table_works_and_columns_that_it_gains_are_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is looked at once, because it refuses the first row."""
    with server.bigquery_server() as bigquery:
        bigquery.columns, bigquery.streamed = [name.title() for name in NINE], NINE
        table = connect(bigquery, monkeypatch)
        for generation in range(5):
            table.append(registration(generation=generation))
        old = [list(row) for row in bigquery.rows.values()]
        bigquery.columns = bigquery.streamed = ALL
        table.append(registration(generation=5))

    assert (bigquery.looks, len(bigquery.requests)) == (1, 7)
    assert old == [NINE] * 5
    assert list(bigquery.rows.values())[-1] == registration(generation=5).row()


def test_a_column_that_streaming_does_not_know_yet_is_never_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also not by an instance that has seen the table without it."""
    monkeypatch.setattr("registry.table.LOOK_AGAIN_SECONDS", 0)
    with server.bigquery_server() as bigquery:
        bigquery.columns = bigquery.streamed = NINE
        table = connect(bigquery, monkeypatch)
        table.append(registration())
        bigquery.columns = ALL
        for _ in range(2):
            with pytest.raises(AppendFailed, match=r"no such field: crc32c\.: .* minutes"):
                table.append(registration(generation=2))
        bigquery.streamed = ALL
        table.append(registration(generation=2))

    assert [len(row) for row in bigquery.rows.values()] == [9, 13]


def test_a_table_that_has_lost_columns_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has restored an old one."""
    with server.bigquery_server() as bigquery:
        table = connect(bigquery, monkeypatch)
        table.append(registration())
        bigquery.columns = bigquery.streamed = NINE
        table.append(registration(generation=2))

    assert [len(row) for row in bigquery.rows.values()] == [13, 9]


def test_a_table_that_may_not_be_looked_at_is_taken_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("registry.table.LOOK_AGAIN_SECONDS", 0)
    with server.bigquery_server() as bigquery:
        bigquery.columns = bigquery.streamed = NINE
        bigquery.hidden = True
        table = connect(bigquery, monkeypatch)
        with pytest.raises(AppendFailed, match="no such field"):
            table.append(registration())
        bigquery.hidden = False
        table.append(registration())
        bigquery.hidden = True
        table.append(registration(generation=2))

    assert (bigquery.looks, [len(row) for row in bigquery.rows.values()]) == (3, [9, 9])


def test_a_column_that_is_not_of_the_lineage_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    with server.bigquery_server() as bigquery:
        bigquery.columns = bigquery.streamed = [name for name in ALL if name != "uploader"]
        with pytest.raises(AppendFailed, match="no such field: uploader"):
            connect(bigquery, monkeypatch).append(registration())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(server.error(503, "backendError"), id="503"),
        pytest.param(server.error(503, "serviceUnavailable"), id="503 of another reason"),
        pytest.param(server.bare_error(503), id="503 of a proxy"),
        pytest.param(server.error(500, "internalError"), id="500"),
        pytest.param(server.error(502, "badGateway"), id="502"),
        pytest.param(server.bare_error(504), id="504"),
        pytest.param(server.bare_error(408), id="408"),
        pytest.param(server.error(429, "rateLimitExceeded"), id="429"),
        pytest.param(server.bare_error(429), id="429 of a proxy"),
        pytest.param(server.error(403, "rateLimitExceeded"), id="403, but it is the rate"),
        pytest.param(server.cut_before_writing, id="cut before writing"),
        pytest.param(server.cut_after_writing, id="cut after writing"),
        pytest.param(server.garbled, id="garbled"),
        pytest.param(server.silent, id="silent"),
    ],
)
def test_a_passing_fault_is_ridden_out(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.bigquery_server([answer]) as bigquery:
        connect(bigquery, monkeypatch).append(registration())

    first, second = bigquery.requests
    assert first.body == second.body
    assert second.at - first.at < ATTEMPT_SECONDS + 1
    assert bigquery.rows == {registration().insert_id: registration().row()}


def test_the_wait_that_bigquery_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = server.error(429, "rateLimitExceeded", Retry_After="2")
    with server.bigquery_server([answer]) as bigquery:
        connect(bigquery, monkeypatch).append(registration())

    first, second = bigquery.requests
    assert second.at - first.at >= 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(
            server.error(404, "notFound", "Not found: Table acme:ml_registry.models"),
            "Not found: Table acme:ml_registry.models: run deploy/setup.sh, which makes",
            id="table missing",
        ),
        pytest.param(
            server.error(403, "accessDenied", "Access Denied: Permission updateData denied"),
            "Permission updateData denied: run deploy/setup.sh, which grants",
            id="permission denied",
        ),
        pytest.param(
            server.error(403, "quotaExceeded", "Quota exceeded: a long-term one"),
            "Quota exceeded: a long-term one$",
            id="quota",
        ),
        pytest.param(server.error(400, "invalid", "Bad request"), "Bad request", id="400"),
        pytest.param(
            server.error(429, "rateLimitExceeded", "Come back", Retry_After="600"),
            "Come back",
            id="asked to wait for longer than the call may last",
        ),
        pytest.param(
            server.row_errors(
                {"reason": "invalid", "location": "model_version", "message": "Cannot convert"},
            ),
            "found invalid: model_version: Cannot convert: compare its columns",
            id="row refused",
        ),
        pytest.param(
            server.row_errors(
                *[{"reason": "stopped", "location": "", "message": ""}] * 4,
                {"reason": "invalid", "location": "model_version", "message": "Cannot convert"},
            ),
            "found invalid: model_version: Cannot convert: compare its columns",
            id="row refused, and others because of it",
        ),
        pytest.param(
            server.row_errors({"reason": "timeout", "location": "", "message": "Too late"}),
            "found timeout: : Too late$",
            id="row refused for no fault of the columns",
        ),
    ],
)
def test_a_permanent_error_fails_at_once_with_bigquerys_reason(
    answer: Answer, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.bigquery_server([answer]) as bigquery:
        table = connect(bigquery, monkeypatch)
        with pytest.raises(AppendFailed, match=f"expected acme.ml_registry.models.*{said}"):
            table.append(registration())

    assert len(bigquery.requests) == 1
    assert bigquery.rows == {}


def test_a_lasting_fault_fails_before_the_platform_ends_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them at once, because each takes its time."""
    faults: list[Answer] = [
        server.silent,
        server.dripping,
        server.error(503, "backendError"),
        server.late(6.5, server.error(429, "rateLimitExceeded", Retry_After="10")),
        server.cut_before_writing,
    ]

    def seconds_until_it_fails(fault: Answer) -> float:
        with server.bigquery_server(itertools.repeat(fault)) as bigquery:
            with monkeypatch.context() as patch:
                table = connect(bigquery, patch)
            started = time.monotonic()
            with pytest.raises(AppendFailed):
                table.append(registration())
            taken = time.monotonic() - started
        assert len(bigquery.requests) > 1
        return taken

    with ThreadPoolExecutor(len(faults)) as pool:
        taken = list(pool.map(seconds_until_it_fails, faults))

    assert max(taken) < BOUND_SECONDS
    assert min(taken) > 10  # nor did it give up early


def test_an_address_where_nobody_listens_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is shortened here: that it is kept is shown above."""
    monkeypatch.setattr("registry.table._RETRY", _RETRY.with_timeout(0.1))
    with server.bigquery_server() as bigquery:
        table = connect(bigquery, monkeypatch)

    with pytest.raises(AppendFailed, match=r"found ConnectionError: .*Connection refused"):
        table.append(registration())


# --- Many events at once --------------------------------------------------------------------------


def test_each_thread_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while fewer events come."""
    with server.bigquery_server(itertools.repeat(server.late(0.1, server.well))) as bigquery:
        table = connect(bigquery, monkeypatch, threads=16)
        with ThreadPoolExecutor(16) as pool:
            for wave in range(5):
                events = [registration(generation=16 * wave + number) for number in range(16)]
                list(pool.map(table.append, events))

    assert len(bigquery.rows) == 80
    assert 10 < len({request.connection for request in bigquery.requests}) <= 16


def test_late_attempts_leave_room_for_others_and_their_number_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads; the answers to their first events never end."""
    monkeypatch.setattr("registry.table._RETRY", _RETRY.with_timeout(0))
    monkeypatch.setattr("registry.table.ATTEMPT_SECONDS", 0.5)
    with server.bigquery_server([server.dripping] * 4) as bigquery:
        table = connect(bigquery, monkeypatch, threads=2)

        def is_appended(generation: int) -> bool:
            with contextlib.suppress(AppendFailed):
                table.append(registration(generation=generation))
                return True
            return False

        with ThreadPoolExecutor(2) as pool:
            first = list(pool.map(is_appended, range(2)))
            bigquery.answers = iter([])
            then = list(pool.map(is_appended, range(2, 12)))
            bigquery.answers = iter([server.dripping] * 2)
            more = list(pool.map(is_appended, range(12, 14)))
            without_a_thread = list(pool.map(is_appended, range(14, 16)))

    assert (first, then, more) == ([False] * 2, [True] * 10, [False] * 2)
    assert without_a_thread == [False] * 2
    assert len(bigquery.requests) == 14
