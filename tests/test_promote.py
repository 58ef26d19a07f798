"""`promote` on a whole local system: real copies, real events, the real views."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud.storage import Bucket

from tests import ROOT
from tests.processes import wait_until
from tests.servers.local import Local, local

type Ended = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def own(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local system without sample data."""
    with local(project, tmp_path_factory.mktemp("promote") / "local.log") as running:
        yield running


def registry(own: Local, *words: str, **environ: str) -> Ended:
    """Run the command line in the system's environment."""
    return subprocess.run(
        [sys.executable, "-m", "registry", *words],
        cwd=ROOT,
        env={**os.environ, **own.exports, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def upload(own: Local, environment: str, path: str, content: bytes = b"a model") -> Bucket:
    """Write an object, and wait for its row."""
    bucket = own.storage.bucket(f"ml-models-{environment}")
    blob = bucket.blob(path)
    blob.metadata = {"accuracy": "0.9", "uploader": "ada"}
    blob.cache_control = "no-store"
    blob.upload_from_string(content, content_type="text/x-model")
    wait_until(lambda: _seen(own, bucket.name, path, blob.generation))
    return bucket


def _seen(own: Local, bucket: str, path: str, generation: int) -> bool:
    query = "SELECT gcs_bucket, gcs_path, generation FROM ml_registry.models"
    return (bucket, path, generation) in {tuple(row) for row in own.bigquery.query_and_wait(query)}


def test_a_version_goes_from_dev_to_staging_to_prod(own: Local) -> None:
    dev = upload(own, "dev", "churn/v3/model.pkl")
    upload(own, "dev", "churn/v3/part/1, 2.bin", b"")

    planned = registry(own, "promote", "churn", "v3", "--to", "staging", "--dry-run")
    too_early = registry(own, "promote", "churn", "v3", "--to", "prod")
    staged = registry(own, "promote", "churn", "v3", "--to", "staging")
    again = registry(own, "promote", "churn", "3", "--to", "staging")
    live = registry(own, "promote", "churn", "v03", "--to", "prod")

    generation = dev.get_blob("churn/v3/model.pkl").generation
    source = f"gs://ml-models-dev/churn/v3/model.pkl#{generation}"
    assert planned.stdout.splitlines()[0] == (
        "gcloud storage cp --if-generation-match=0"
        f" '--update-custom-metadata=promoted_from={source}' '{source}'"
        " gs://ml-models-staging/churn/v3/model.pkl"
    )
    assert too_early.returncode == 1
    assert "Error: expected churn v3 in staging, found that it never was there" in too_early.stderr
    assert (staged.returncode, staged.stdout) == (0, "churn v3 in staging is identical to dev.\n")
    assert "2 of 2 files to copy" in staged.stderr
    assert "0 of 2 files to copy" in again.stderr
    assert (again.returncode, live.returncode) == (0, 0), live.stderr
    copy = own.storage.bucket("ml-models-prod").get_blob("churn/v3/model.pkl")
    staging = own.storage.bucket("ml-models-staging").get_blob("churn/v3/model.pkl")
    assert (copy.content_type, copy.cache_control) == ("text/x-model", "no-store")
    assert copy.metadata == {
        "accuracy": "0.9",
        "uploader": "ada",
        "promoted_from": f"gs://ml-models-staging/churn/v3/model.pkl#{staging.generation}",
    }
    changes = json.loads(registry(own, "changes", "--format", "json").stdout)
    assert {row["environment"] for row in changes if row["change"] == "arrived"} == {
        *("prod", "staging", "dev")
    }


def test_what_differs_is_refused_unless_anyway(own: Local) -> None:
    upload(own, "dev", "rash/v1/model.pkl", b"one")
    upload(own, "staging", "rash/v1/model.pkl", b"two")

    refused = registry(own, "promote", "rash", "v1", "--to", "staging")
    unlike = registry(own, "promote", "rash", "v1", "--to", "prod")
    anyway = registry(own, "promote", "rash", "v1", "--to", "prod", "--anyway")

    assert refused.returncode == unlike.returncode == 1
    assert "found others at gs://ml-models-staging/rash/v1/model.pkl" in refused.stderr
    assert "differs from dev: promote that one first, or add --anyway" in unlike.stderr
    assert anyway.returncode == 0, anyway.stderr
    copy = own.storage.bucket("ml-models-prod").get_blob("rash/v1/model.pkl")
    assert copy.metadata["promoted_anyway"] == "differs from dev"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothing", "v1", "--to", "staging"], 1, "expected nothing v1 in dev, found that it"),
        (["churn", "x", "--to", "staging"], 2, "expected a version such as v3, found 'x'"),
        (["churn", "v3", "--to", "dev"], 2, "'dev' is not one of 'staging', 'prod'"),
        (
            ["churn", "v3", "--to", "staging", "--from", "staging"],
            2,
            "expected --from an environment before staging, found staging",
        ),
        (
            ["churn", "v3", "--to", "staging", "--from", "prod"],
            2,
            "expected --from an environment before staging, found prod",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(
    own: Local, words: list[str], code: int, message: str
) -> None:
    ended = registry(own, "promote", *words)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert message in " ".join(ended.stderr.split())
