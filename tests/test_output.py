"""Output that cannot be written: one line and exit code 2, or escapes that lose nothing."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.cloud import bigquery

from registry import inventory, output
from registry.cli import main
from tests import PROJECT, ROOT, STILL_TRYING
from tests.conftest import insert, written
from tests.servers import bigquery as server

NAME = "zero\u200bwidth"
FULL = Path("/dev/full")
NO_ROOM = "Error: expected to write the whole output, found No space left on device:"


@pytest.fixture(scope="module")
def environ(client: bigquery.Client, dataset: str, bigquery_url: str) -> dict[str, str]:
    """The variables with which the program finds a registry of two models."""
    insert(client, dataset, [written(f"{name}/v1/m.pkl", "dev", 0) for name in (NAME, "森")])
    return {
        "GCP_PROJECT_ID": PROJECT,
        "REGISTRY_TABLE": f"{dataset}.models",
        "BIGQUERY_EMULATOR_HOST": bigquery_url,
    }


def program(environ: dict[str, str], words: str, end: str) -> subprocess.CompletedProcess[str]:
    """Run it in a shell; `end` says where its output goes."""
    return subprocess.run(
        ["/bin/bash", "-c", f'"$0" -m registry {words} {end}', sys.executable],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        encoding="iso-8859-1" if "PYTHONIOENCODING" in environ else "utf-8",
        check=False,
    )


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "words",
    [
        "models --format json",
        "models --format csv",
        "models --format table",
        "show nobody --format json",
        "--help",
    ],
)
def test_a_full_disk_is_one_line_and_exit_code_2(environ: dict[str, str], words: str) -> None:
    result = program(environ, words, "> /dev/full")

    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(NO_ROOM)
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


@pytest.mark.parametrize("words", ["--help", "models --format csv"])
def test_a_reader_that_has_gone_is_exit_code_141(environ: dict[str, str], words: str) -> None:
    result = program(environ, words, "| true; exit ${PIPESTATUS[0]}")

    assert result.returncode == 141
    assert result.stderr in {"", STILL_TRYING}


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_errors_that_have_no_room_leave_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    with FULL.open("w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with pytest.raises(SystemExit) as end:
            main(["show"])

    assert end.value.code == 2


def test_errors_that_nobody_reads_leave_exit_code_141(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    with os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with pytest.raises(SystemExit) as end:
            main(["show"])

    assert end.value.code == 141


def test_a_closed_output_is_one_line_and_exit_code_2(environ: dict[str, str]) -> None:
    result = program(environ, "models", ">&-")

    assert result.returncode == 2
    assert "Error: expected an output to write to, found it closed" in result.stderr


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("json", 0, '"model_name": "zero\\u200bwidth"'),
        ("table", 0, r"\u68ee"),
        ("csv", 2, r", which has no '\u200b': set PYTHONIOENCODING=utf-8"),
    ],
)
def test_a_name_that_the_outputs_encoding_lacks_is_escaped_or_an_error(
    environ: dict[str, str], kind: str, status: int, expected: str
) -> None:
    latin = {**environ, "PYTHONIOENCODING": "iso-8859-1"}

    result = program(latin, f"models --format {kind}", "")

    assert result.returncode == status, result.stderr
    assert expected in (result.stderr if status else result.stdout)
    assert "Traceback" not in result.stderr
    if kind == "json":
        assert {row["model_name"] for row in json.loads(result.stdout)} == {NAME, "森"}


def test_who_waits_for_bigquery_reads_that_we_go_on_trying(environ: dict[str, str]) -> None:
    with server.bigquery_server([server.silent]) as silent:
        environ = {**environ, "BIGQUERY_EMULATOR_HOST": silent.url}
        with subprocess.Popen(
            [sys.executable, "-m", "registry", "models"],
            cwd=ROOT,
            env={**os.environ, **environ},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr
            said = process.stderr.readline()
            process.terminate()

    assert said == STILL_TRYING


def test_the_remedy_comes_after_the_note(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.setattr(output, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(inventory, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(inventory, "RETRY_SECONDS", 0.5)
    with server.bigquery_server([server.silent]) as silent:
        environ = {**environ, "BIGQUERY_EMULATOR_HOST": silent.url}
        result = CliRunner().invoke(main, ["models"], env=environ)

    [note, error] = result.stderr.splitlines()
    assert result.exit_code == 2
    assert f"{note}\n" == STILL_TRYING
    assert error.startswith("Error: expected ")
    assert error.endswith(": check that this machine reaches BigQuery, and ask again")


class Broken(io.TextIOWrapper):
    """An output that fails in one way, with a file of its own behind it."""

    def __init__(self, folder: Path, error: Exception) -> None:
        super().__init__((folder / "output").open("wb"), encoding="utf-8")
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), NO_ROOM.removeprefix("Error: ")),
        (OSError("broken"), "expected to write the whole output, found broken: make room"),
        (UnicodeEncodeError("ascii", "aé", 1, 2, "-"), r"found ascii, which has no '\xe9':"),
        (None, "expected an output to write to, found it closed"),
    ],
)
def test_an_output_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception | None, expected: str
) -> None:
    """In this process, where coverage is measured."""
    monkeypatch.setattr(sys, "stdout", error and Broken(tmp_path, error))

    with pytest.raises(Exception, match="expected") as failure:
        main(["--help"], standalone_mode=False)

    assert expected in str(failure.value)
