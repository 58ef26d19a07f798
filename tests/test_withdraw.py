"""`withdraw` on a whole local system: real removals, real events, the real views."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import insert, written
from tests.servers.local import Local, local
from tests.test_promote import registry, upload


@pytest.fixture(scope="module")
def own(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local system without sample data."""
    with local(project, tmp_path_factory.mktemp("withdraw") / "local.log") as running:
        yield running


def newest(own: Local, model: str) -> list[int]:
    """Return the latest version in prod."""
    rows = json.loads(registry(own, "models", "-e", "prod", "--format", "json").stdout)
    return [row["model_version"] for row in rows if row["model_name"] == model]


def test_a_rollback_and_back(own: Local) -> None:
    upload(own, "prod", "churn/v1/model.pkl")
    prod = upload(own, "prod", "churn/v2/model.pkl", b"newer")
    upload(own, "prod", "churn/v2/part/a b", b"")
    before = prod.get_blob("churn/v2/model.pkl")

    planned = registry(own, "withdraw", "churn", "v2", "--from", "prod", "--dry-run")
    gone = registry(own, "withdraw", "churn", "v2", "--from", "prod")
    rolled_back = newest(own, "churn")
    twice = registry(own, "withdraw", "churn", "v2", "--from", "prod")
    undo = registry(own, "withdraw", "churn", "v2", "--from", "prod", "--undo", "--dry-run")
    back = registry(own, "withdraw", "churn", "v2", "--from", "prod", "--undo")

    assert planned.stdout.splitlines()[0] == (
        f"gcloud storage rm --if-generation-match={before.generation}"
        " gs://ml-models-prod/churn/v2/model.pkl"
    )
    assert (gone.exit_code, gone.stdout) == (0, "churn v2 in prod is gone: 2 files.\n")
    assert rolled_back == [1]
    assert twice.exit_code == 1
    assert "expected churn v2 in prod, found none of its files there" in twice.stderr
    assert undo.stdout.splitlines()[0] == (
        "gcloud storage cp --if-generation-match=0"
        f" 'gs://ml-models-prod/churn/v2/model.pkl#{before.generation}'"
        " gs://ml-models-prod/churn/v2/model.pkl"
    )
    assert (back.exit_code, back.stdout) == (0, "churn v2 in prod is there again: 2 files.\n")
    assert newest(own, "churn") == [2]
    after = prod.get_blob("churn/v2/model.pkl")
    assert (after.crc32c, after.metadata, after.content_type, after.cache_control) == (
        *(before.crc32c, before.metadata, before.content_type, before.cache_control),
    )
    changes = json.loads(registry(own, "changes", "--format", "json").stdout)
    kinds = [row["change"] for row in changes if row["model_version"] == 2]
    assert {"removed", "reappeared"} <= set(kinds)
    again = registry(own, "withdraw", "churn", "v2", "--from", "prod", "--undo")
    assert again.exit_code == 1
    assert "found that none of its files was removed" in again.stderr


def test_it_is_gone_only_when_the_registry_says_so_of_all_files(own: Local) -> None:
    """Of a file that was deleted before, the event was lost. So `uri` would still name it."""
    prod = upload(own, "prod", "unseen/v1/a")
    insert(own.bigquery, "ml_registry", [written("unseen/v1/b", "prod", 0)])

    first = registry(own, "withdraw", "unseen", "v1", "--from", "prod", "--wait", "2")
    again = registry(own, "withdraw", "unseen", "v1", "--from", "prod", "--wait", "2")

    assert (first.exit_code, again.exit_code) == (1, 1)
    for ended in (first, again):
        assert "found still gs://ml-models-prod/unseen/v1/b: the events may be" in ended.stderr
    assert not prod.blob("unseen/v1/a").exists()


def test_an_undo_makes_no_mixture_with_what_was_uploaded_since(own: Local) -> None:
    upload(own, "prod", "mixed/v1/a")
    prod = upload(own, "prod", "mixed/v1/b")
    gone = registry(own, "withdraw", "mixed", "v1", "--from", "prod")
    upload(own, "prod", "mixed/v1/a", b"other bytes")

    mixture = registry(own, "withdraw", "mixed", "v1", "--from", "prod", "--undo")
    left = [blob.name for blob in prod.list_blobs(prefix="mixed/")]
    prod.blob("mixed/v1/a").delete()
    upload(own, "prod", "mixed/v1/a")
    completed = registry(own, "withdraw", "mixed", "v1", "--from", "prod", "--undo")

    assert (gone.exit_code, mixture.exit_code, left) == (0, 1, ["mixed/v1/a"])
    assert "found that gs://ml-models-prod/mixed/v1/a came since" in mixture.stderr
    assert (completed.exit_code, completed.stdout) == (
        *(0, "mixed v1 in prod is there again: 1 files.\n"),
    )


def test_a_bucket_that_keeps_nothing_is_refused_unless_for_good(own: Local) -> None:
    dev = upload(own, "dev", "lost/v1/model.pkl")
    dev.reload()
    dev.versioning_enabled = False
    dev.soft_delete_policy.retention_duration_seconds = 0
    dev.patch()

    refused = registry(own, "withdraw", "lost", "v1", "--from", "dev")
    gone = registry(own, "withdraw", "lost", "v1", "--from", "dev", "--for-good")
    undo = registry(own, "withdraw", "lost", "v1", "--from", "dev", "--undo")

    assert refused.exit_code == 1
    assert "found neither versioning nor soft delete" in refused.stderr
    assert gone.exit_code == 0, gone.stderr
    assert undo.exit_code == 1
    assert "found that it is gone for good: upload it again" in undo.stderr


def test_soft_delete_alone_brings_it_back(own: Local) -> None:
    staging = upload(own, "staging", "soft/v1/model.pkl")
    staging.reload()
    staging.versioning_enabled = False
    staging.soft_delete_policy.retention_duration_seconds = 7 * 24 * 3600
    staging.patch()

    gone = registry(own, "withdraw", "soft", "v1", "--from", "staging")
    undo = registry(own, "withdraw", "soft", "v1", "--from", "staging", "--undo", "--dry-run")
    back = registry(own, "withdraw", "soft", "v1", "--from", "staging", "--undo")

    assert gone.exit_code == 0, gone.stderr
    assert undo.stdout.startswith("gcloud storage restore 'gs://ml-models-staging/soft/v1/model.pk")
    assert back.exit_code == 0, back.stderr
    assert staging.blob("soft/v1/model.pkl").exists()


def test_what_is_not_there_is_said(own: Local) -> None:
    ended = registry(own, "withdraw", "nothing", "v1", "--from", "prod")

    assert ended.exit_code == 1
    assert "expected nothing v1 in prod, found that it never was there" in ended.stderr
