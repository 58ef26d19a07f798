"""`promote` on a whole local system: real copies, real events, the real views."""

import io
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.cloud.storage import Bucket
from rich.console import Console

from registry import output
from registry.cli import main
from tests import ROOT
from tests.conftest import Terminal
from tests.processes import process, wait_until
from tests.servers import running
from tests.servers.local import Local, local
from tests.servers.proxy import Proxy
from tests.test_removals import needs_gcloud


@pytest.fixture(scope="module")
def own(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local system without sample data."""
    with local(project, tmp_path_factory.mktemp("promote") / "local.log") as started:
        yield started


def registry(own: Local, *words: str) -> Result:
    """Run the command line in the system's environment."""
    return CliRunner().invoke(main, words, env=own.exports)


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
    assert too_early.exit_code == 1
    assert "Error: expected churn v3 in staging, found that it never was there" in too_early.stderr
    assert (staged.exit_code, staged.stdout) == (0, "churn v3 in staging is identical to dev.\n")
    assert "2 of 2 files to copy" in staged.stderr
    assert "0 of 2 files to copy" in again.stderr
    assert (again.exit_code, live.exit_code) == (0, 0), live.stderr
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

    assert refused.exit_code == unlike.exit_code == 1
    assert "found others at gs://ml-models-staging/rash/v1/model.pkl" in refused.stderr
    assert "differs from dev: promote that one first, or add --anyway" in unlike.stderr
    assert anyway.exit_code == 0, anyway.stderr
    copy = own.storage.bucket("ml-models-prod").get_blob("rash/v1/model.pkl")
    assert copy.metadata["promoted_anyway"] == "differs from dev"


def test_files_that_only_the_target_has_are_refused_before_anything_is_copied(own: Local) -> None:
    upload(own, "dev", "mixed/v3/model.pkl")
    upload(own, "dev", "mixed/v3/.DS_Store", b"ours")
    upload(own, "staging", "mixed/v3/.DS_Store", b"theirs")
    extra = upload(own, "staging", "mixed/v003/old.pkl")

    refused = registry(own, "promote", "mixed", "v3", "--to", "staging")
    names = [blob.name for blob in extra.list_blobs(prefix="mixed/")]
    extra.blob("mixed/v003/old.pkl").delete()
    done = registry(own, "promote", "mixed", "v3", "--to", "staging")

    assert (refused.exit_code, names) == (1, ["mixed/v003/old.pkl", "mixed/v3/.DS_Store"])
    assert (
        "expected only the files of dev in staging, found"
        " gs://ml-models-staging/mixed/v003/old.pkl too: withdraw it first"
    ) in refused.stderr
    assert (done.exit_code, done.stdout) == (0, "mixed v3 in staging is identical to dev.\n")
    assert "1 of 1 files to copy" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nothing", "v1", "--to", "staging"], 1, "expected nothing v1 in dev, found that it"),
        (["a b", "v1", "--to", "staging"], 1, "run model-registry show 'a b'"),
        (["churn", "v9", "--to", "staging"], 1, "expected churn v9 in dev, found that it never"),
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

    assert (ended.exit_code, ended.stdout) == (code, "")
    assert message in " ".join(ended.stderr.split())


@pytest.mark.parametrize("at", [4, 6])
def test_a_promotion_that_is_killed_is_incomplete_until_the_next(
    own: Local, tmp_path: Path, at: int
) -> None:
    """Once among the copies, and once when all are made, but not yet compared."""
    model = f"killed-{at}"
    for number in range(3):
        upload(own, "dev", f"{model}/v1/part-{number}", b"x" * number)
    proxy = Proxy(own.exports["STORAGE_EMULATOR_HOST"])
    killed = threading.Event()

    def hold(number: int) -> None:
        if number >= at:
            killed.wait(30)
            raise ConnectionAbortedError

    proxy.before = hold
    command = [own.python, "-m", "registry", "promote", model, "v1", "--to", "staging"]
    environ = {**own.exports, "STORAGE_EMULATOR_HOST": proxy.url}
    with running(proxy), process(command, tmp_path / "log", environ, ROOT) as promoting:
        wait_until(lambda: proxy.requests >= at)
        promoting.kill()
        assert promoting.wait() == -signal.SIGKILL
        killed.set()

    copied = len(list(own.storage.list_blobs("ml-models-staging", prefix=f"{model}/")))
    rows = json.loads(registry(own, "show", model, "-e", "staging").stdout)
    assert (copied == 3) == (at == 6)
    assert copied == 3 or {row["staging_vs_dev"] for row in rows} <= {"incomplete"}
    ended = registry(own, "promote", model, "v1", "--to", "staging")
    assert ended.exit_code == 0, ended.stderr


def test_two_folders_of_one_version_keep_their_names(own: Local) -> None:
    upload(own, "dev", "padded/v1/a")
    upload(own, "dev", "padded/v01/b")

    ended = registry(own, "promote", "padded", "v1", "--to", "staging")

    assert ended.exit_code == 0, ended.stderr
    assert "is in 2 folders: gs://ml-models-dev/padded/v01/, gs://ml-models-dev" in ended.stderr
    names = [blob.name for blob in own.storage.list_blobs("ml-models-staging", prefix="padded/")]
    assert names == ["padded/v01/b", "padded/v1/a"]


def test_the_registry_has_not_seen_it_within_the_time(own: Local) -> None:
    upload(own, "dev", "late/v1/a")

    ended = registry(own, "promote", "late", "v1", "--to", "staging", "--wait", "0")

    assert ended.exit_code in {0, 1}  # the event may be faster
    assert ended.exit_code == 0 or "to see late v1 in staging within 0 s" in ended.stderr


@needs_gcloud
def test_the_commands_of_a_dry_run_can_be_pasted(own: Local) -> None:
    names = ["1, 2.bin", ",:::~~~|||;;;", "\\'\u200b.bin", "#1.bin"]
    for name in [*names, "[1].bin", "a#1"]:
        upload(own, "dev", f"pasted/v1/{name}")

    planned = registry(own, "promote", "pasted", "v1", "--to", "staging", "--dry-run")
    own.run("bash", "-c", planned.stdout)

    comments = [line for line in planned.stdout.splitlines() if line.startswith("# ")]
    assert len(comments) == 2  # gcloud has no way to name these
    copies = {
        blob.name.removeprefix("pasted/v1/"): blob
        for blob in own.storage.list_blobs("ml-models-staging", prefix="pasted/")
    }
    assert sorted(copies) == sorted(names)
    for name, copy in copies.items():
        assert copy.metadata["promoted_from"].startswith(f"gs://ml-models-dev/pasted/v1/{name}#")
        assert (copy.metadata["accuracy"], copy.content_type) == ("0.9", "text/x-model")


def test_progress_is_a_bar_on_a_terminal_and_a_line_now_and_then_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Terminal()
    with output.counting("files copied", 2_500, Console(file=screen, force_terminal=True)) as done:
        for _ in range(2_500):
            done()
    with output.counting("files copied", 2_500, Console(file=io.StringIO())) as done:
        for _ in range(2_500):
            done()

    assert "2,500 of 2,500 files copied" in screen.getvalue()
    assert capsys.readouterr().err.splitlines() == [
        "1,000 of 2,500 files copied",
        "2,000 of 2,500 files copied",
    ]
