"""Whatever fails on the way, each upload is registered exactly once, and each removal is known."""

from collections import Counter
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

import pytest
from google.cloud import bigquery

from tests.servers.faulty_bigquery import FAULT_RATE, Key
from tests.soak import CALL_SECONDS, Fact, Form, Soak, reconciled, registry_of, time_of, upload_of


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(Form(uploads=300, kills=3, outage_seconds=2, within_seconds=60), id="short"),
        pytest.param(
            Form(uploads=10_000, kills=12, outage_seconds=30, within_seconds=900),
            id="long",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_each_upload_is_registered_exactly_once_through_all_faults(
    form: Form,
    client: bigquery.Client,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    soak = Soak(request.config.getoption("--seed"), form)
    try:
        soak.run(tmp_path)
        written = Counter(key for key, _ in soak.rows)
        soak.doubled = written.total() - len(written)
        with registry_of(client, soak.rows) as ask:
            view = [upload_of(row) for row in ask()]
            soak.registrations = len(view)
            known = {upload.key for upload in view}
            soak.left_for_reconciliation = [u for u in soak.uploads if u.key not in known]
            findings = [reconciled(client, soak.uploads) for _ in range(2)]
            caught_up = [upload_of(row) for row in ask()]
    finally:
        with capsys.disabled():
            print(f"\n{soak}")  # noqa: T201 - it is the result

    # Nothing is lost, but for what was never acknowledged,
    assert soak.acknowledged == set(soak.facts) - soak.given_up
    assert {fact.key for fact in soak.acknowledged} <= written.keys()
    # nothing is there twice, though it was written twice,
    assert soak.doubled > 0
    assert len(known) == len(view)
    # nothing is there that was not uploaded, or not so, and what was removed is gone, and no more,
    assert {upload.key: upload for upload in view} == {
        upload.key: upload if Fact(upload, is_removal=True).key in written else upload.as_live
        for upload in soak.uploads
        if upload.key in known
    }
    # and the first time that it was registered stays.
    first: dict[Key, datetime] = {}
    for key, row in soak.rows:
        if key[0] == "models":
            at = datetime.fromisoformat(row["registered_at"])
            first[key] = min(at, first.get(key, at))
    assert {upload.key: upload.registered_at for upload in view} == first
    # What was given up on, the reconciliation finds, once.
    assert soak.left_for_reconciliation
    newest = {(upload.bucket, upload.path): upload for upload in soak.uploads}
    missing = [("unregistered", upload.path) for upload in soak.left_for_reconciliation] + [
        ("removed", upload.path)
        for upload in newest.values()
        if upload.removed_at
        and not (upload.key in known and Fact(upload, is_removal=True).key in written)
    ]
    assert [Counter((one.difference, one.name) for one in those) for those in findings] == [
        Counter(missing),
        Counter(),
    ]
    assert {upload.as_live for upload in caught_up} == {upload.as_live for upload in soak.uploads}
    last = {(upload.bucket, upload.path): upload for upload in sorted(caught_up, key=time_of)}
    assert last == newest
    # The function never fell over, nor took longer than it may.
    assert soak.statuses.keys() == {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
    assert soak.outcomes.keys() == {"registered", "removed", "failed"}
    assert soak.slowest_seconds < CALL_SECONDS
    # All this in the midst of it.
    assert (soak.kills, soak.cut > 0) == (form.kills, True)
    assert soak.bigquery.faults > FAULT_RATE * form.uploads
