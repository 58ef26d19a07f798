"""The command line, on the BigQuery emulator."""

import csv
import io
import json
import os
import pty
import re
import runpy
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.cloud import bigquery

from registry.cli import main
from registry.inventory import Inventory
from tests import PROJECT, ROOT, STILL_TRYING
from tests.conftest import Terminal, insert, written
from tests.processes import wait_until
from tests.servers import bigquery as server

Run = Callable[..., Result]
COMMANDS = sorted(main.commands)


@pytest.fixture(scope="module")
def registered(client: bigquery.Client, dataset: str) -> str:
    """Some models in a table; returns the table's name."""
    insert(
        client,
        dataset,
        [
            written("fraud/v1/model.pkl", "dev", 0, metadata='{"accuracy": 0.9}'),
            written("fraud/v1/model.pkl", "staging", 1),
            written("fraud/v1/model.pkl", "prod", 2, crc32c="BBBBBB==", uploader="eve"),
            written("fraud/v2/model.pkl", "dev", 3),
            written("fraud/v2/model.pkl", "dev", 4, file_size_bytes=2_000_000, uploader=None),
            written("old/v1/model.pkl", "dev", 5, crc32c=None, generation=None),
            written("old/v1/model.pkl", "staging", 6),
            written(
                *("old/v1/model.pkl", "prod", 6),
                file_size_bytes=None,
                upload_timestamp=None,
                registered_at="2026-03-01T12:06:00Z",
            ),
            written("rash/v1/model.pkl", "prod", 7),
            written("[red]x\x1b[2J\u202e/v1/a b", "dev", 8),
        ],
    )
    return f"{dataset}.models"


@pytest.fixture
def run(registered: str, bigquery_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; its result has the exit code and what it printed."""
    monkeypatch.setenv("GCP_PROJECT_ID", PROJECT)
    monkeypatch.setenv("REGISTRY_TABLE", registered)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    return lambda *words: CliRunner().invoke(main, words)


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def test_models_are_the_rows_of_the_view(
    run: Run, client: bigquery.Client, registered: str
) -> None:
    view = registered.replace("models", "latest_models")
    expected = [dict(row) for row in client.query_and_wait(f"SELECT * FROM {view}")]  # noqa: S608

    found = rows(run("models"))

    assert len(found) == len(expected) == 8
    as_text = [
        json.loads(json.dumps(row, default=lambda time: time.isoformat())) for row in expected
    ]
    key = lambda row: (row["model_name"], row["environment"])  # noqa: E731
    assert sorted(found, key=key) == sorted(as_text, key=key)


def test_the_matrix_has_a_line_for_each_model_and_shows_what_differs(run: Run) -> None:
    table = run("models", "--format", "table").output
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines()]
    header = [cell.strip() for cell in table.splitlines()[1].split("┃")[1:-1]]
    cells = dict(zip(header, zip(*[line for line in lines if line], strict=True), strict=True))

    assert header == ["model", "dev", "staging", "prod"]
    assert [name for name in cells["model"] if name][1:] == ["fraud", "old", "rash"]
    fraud = cells["model"].index("fraud")
    assert cells["dev"][fraud] == "v2  2.0 MB"
    assert cells["prod"][fraud] == "v1  10 Bytes  1 behind dev"
    assert cells["prod"][fraud + 1].endswith(" ago, eve")
    assert cells["prod"][fraud + 2] == "DIFFERS FROM STAGING"
    assert cells["dev"][fraud + 1].endswith(" ago, unknown")
    old, rash = cells["model"].index("old"), cells["model"].index("rash")
    assert cells["staging"][old + 2] == "same as dev? no checksum"
    assert cells["prod"][rash + 2] == "never was in staging"
    assert cells["dev"][rash] == "-"


def test_a_name_in_a_table_moves_no_cursor_and_is_not_markup(run: Run) -> None:
    for command in (["models"], ["promotions"]):
        table = run(*command, "--format", "table").output

        assert r"[red]x\x1b[2J\u202e" in table
        assert not re.search("[\x1b\u202e]", table)


def test_limit_counts_lines(run: Run) -> None:
    table = run("models", "--format", "table", "--limit", "2").output

    assert len(rows(run("models", "--limit", "2"))) == 2
    assert "fraud" in table
    assert "DIFFERS FROM STAGING" in table
    assert "old" not in table


def test_versions_are_found_by_their_metadata(run: Run) -> None:
    found = rows(run("show", "fraud", "--where", "accuracy>0.89", "--where", "accuracy<1"))

    assert [(row["model_version"], row["environment"]) for row in found] == [(1, "dev")]
    assert rows(run("models", "--where", "accuracy=0.9")) == []  # the latest one has none
    assert run("show", "fraud", "--where", "accuracy>1").exit_code == 1


def test_show_gives_the_versions_of_a_model(run: Run) -> None:
    found = rows(run("show", "fraud"))
    table = run("show", "fraud", "--format", "table").output

    assert [(row["model_version"], row["environment"]) for row in found] == [
        (2, "dev"),
        (1, "dev"),
        (1, "staging"),
        (1, "prod"),
    ]
    assert found[0]["overwrites"] == 1
    assert re.search(
        r"│ v1 +│ prod +│ 2026-03-01 12:02 │ 10 Bytes │ 1 +│ eve +│ 0 +│ different │", table
    )


def test_show_with_files_gives_each_file(run: Run) -> None:
    found = rows(run("show", "fraud", "--files", "--environment", "dev"))
    lines = list(
        csv.DictReader(io.StringIO(run("show", "old", "--files", "--format", "csv").stdout))
    )
    table = run("show", "old", "--files", "--format", "table").output

    assert [len(row["artifacts"]) for row in found] == [1, 1]  # type: ignore[arg-type]
    assert found[1]["artifacts"][0]["metadata"] == {"accuracy": 0.9}  # type: ignore[index]
    assert [(line["environment"], line["crc32c"]) for line in lines] == [
        ("dev", ""),
        ("staging", "AAAAAA=="),
        ("prod", "AAAAAA=="),
    ]
    assert re.search(r"│ v1 +│ prod +│ model.pkl │ - +│ AAAAAA== │ - +│ ada │ 0 +│", table)


def test_the_variable_threads_is_for_the_function_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs read a variable of this name too."""
    monkeypatch.setenv("THREADS", "auto")

    assert run("models").exit_code == 0


def test_promotions_are_found_by_environment_and_time(run: Run) -> None:
    to_prod = rows(run("promotions", "--environment", "prod", "--since", "2026-03-01T12:02:00Z"))
    of_fraud = rows(run("promotions", "fraud"))
    table = run("promotions", "fraud", "--format", "table").output

    assert [row["model_name"] for row in to_prod] == ["fraud", "old", "rash"]
    assert [(row["model_version"], row["prod_vs_staging"]) for row in of_fraud] == [
        (2, None),
        (1, "different"),
    ]
    assert re.search(r"│ fraud │ v1 .*│ identical │ 2026-03-01 12:02 │ different +│", table)


def test_history_gives_every_generation(run: Run) -> None:
    url = "gs://ml-models-dev/fraud/v2/model.pkl"
    table = run("history", "gs://ml-models-dev/fraud/v1/model.pkl", "--format", "table").output

    assert [row["generation"] for row in rows(run("history", url))] == [1004, 1003]
    assert "accuracy: 0.9" in table


def test_csv_has_the_views_columns_also_when_there_is_nothing(run: Run) -> None:
    nothing = run("models", "--since", "1m", "--format", "csv").stdout
    staging = run("models", "--environment", "staging", "--format", "csv").stdout

    [fraud, _] = csv.DictReader(io.StringIO(staging))
    assert nothing.strip().split(",") == list(fraud)
    assert fraud["uploaders"] == '["ada"]'
    assert fraud["last_upload_timestamp"] == "2026-03-01T12:01:00+00:00"


@pytest.mark.parametrize("since", ["1m", "2h", "3d", "4w", "2026-11-01", "2026-11-01T12:00"])
def test_since_is_a_time_or_how_long_ago(run: Run, since: str) -> None:
    result = run("models", "--since", since, "--format", "table")

    assert result.exit_code == 0
    assert result.stderr == "Nothing of that kind is registered.\n"


@pytest.mark.parametrize(
    "words",
    [
        ["show", "nobody"],
        ["show", "nobody", "--files"],
        ["show", "fraud", "--since", "1d"],
        ["promotions", "nobody"],
        ["history", "gs://ml-models-dev/nobody/v1/model.pkl"],
    ],
)
def test_an_unknown_name_is_an_empty_list_and_exit_code_1(run: Run, words: list[str]) -> None:
    result = run(*words)

    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert re.fullmatch("Error: expected registrations of .*, found none.*\n", result.stderr)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["show", "Fraud"], ": did you mean 'fraud'?"),
        (["show", "frau", "--files"], ": did you mean 'fraud'?"),
        (["changes", "frauds"], ": did you mean 'fraud'?"),
        (["promotions", "arsh"], ": did you mean 'rash'?"),
        (["compare", "FRAUD", "v1", "v2"], ": did you mean 'fraud'?"),
        (["show", "[red]x"], r": did you mean '[red]x\x1b[2J\u202e'?"),
        (["show", "Fraud", "--at", "2026-01-01"], ""),  # nothing was registered
        (["show", "fraud", "--since", "2026-04-01"], ""),  # the name is right
        (["show", "churn"], ""),
    ],
)
def test_a_model_that_may_be_meant_is_named(run: Run, words: list[str], meant: str) -> None:
    result = run(*words)

    assert result.exit_code == 1
    assert result.stderr.endswith(f"found none that fit{meant}\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["models", "--table", "nowhere.models"], "run deploy/setup.sh"),
        (["models", "--table", "nowhere"], "REGISTRY_TABLE: expected <dataset>.<table>"),
        (["models", "--project", "No Project"], "GCP_PROJECT_ID: expected a project's id"),
        (["models", "--since", "yesterday"], "expected a date, a time in ISO 8601, or a period"),
        (["models", "--since", "99999999999w"], "expected a date, a time in ISO 8601, or a period"),
        (["models", "--since", "0001-01-01T00:00+14:00"], "expected a date, a time in ISO 8601"),
        (["models", "--limit", "99999999999"], "is not in the range"),
        (["show", "\udcff"], "expected text in UTF-8"),
        (["models", "--limit", "0"], "0 is not in the range"),
        (["models", "--environment", "qa"], "'qa' is not one of"),
        (["history", "fraud/v1/model.pkl"], "expected gs://<bucket>/<path>"),
        (["history", "gs://b"], "expected gs://<bucket>/<path>"),
        (["history", "gs://b-dev/fraud/8/m"], "the version '8' lacks its v: write 'fraud/v8/m'"),
        (["models", "--where", "xgboost"], "expected key=value, or !=, <, <=, >, >= between them"),
        (["models", "--where", "a=\udcff"], "expected text in UTF-8"),
        (["frobnicate"], "No such command"),
    ],
)
def test_an_impossible_question_is_one_line_and_exit_code_2(
    run: Run, words: list[str], expected: str
) -> None:
    result = run(*words)

    assert result.exit_code == 2
    assert expected in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_examples_whose_options_exist(command: str) -> None:
    text = CliRunner().invoke(main, [command, "--help"]).output
    examples = re.findall(r"^ +model-registry (\w+) (.*)$", text, re.MULTILINE)
    known = {name for option in main.commands[command].params for name in option.opts}

    assert examples or command == "models"
    for name, arguments in examples:
        assert name == command
        assert set(re.findall(r"--[\w-]+", arguments.partition("|")[0])) <= known


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_the_help_fits_a_terminal_of_80_columns(command: list[str]) -> None:
    text = CliRunner().invoke(main, [*command, "--help"], terminal_width=80).output

    assert max(map(len, text.splitlines())) <= 80


def test_the_main_help_has_an_example_of_each_command_and_the_exit_codes() -> None:
    text = CliRunner().invoke(main, ["--help"]).output

    assert set(re.findall(r"model-registry (\w+)", text)) >= set(COMMANDS)
    assert re.search(r"Exit codes:\n +0 .*\n +1 .*\n +2 ", text)


def test_it_is_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["registry", "--help"])
    monkeypatch.delitem(sys.modules, "registry.__main__", raising=False)

    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("registry", run_name="__main__")

    assert "Usage: python -m registry" in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize(
    "words",
    [
        ["models"],
        ["show", "fraud"],
        ["show", "fraud", "--files"],
        ["promotions"],
        ["history", "gs://ml-models-dev/fraud/v1/model.pkl"],
    ],
)
def test_nothing_is_left_out_of_a_table_however_narrow_the_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], columns: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)

    table = re.sub("\x1b\\[[0-9;]*m", "", run(*words, "--format", "table").output)
    wide = run(*words, "--format", "table", "--limit", "1000").output

    assert "…" not in table
    whole = re.findall(
        r"2026-03-01 12:\d\d|AAAAAA==|different|identical|DIFFERS FROM STAGING", wide
    )
    for text in whole:
        assert text in table
    assert max(map(len, table.splitlines())) <= int(columns)
    assert ("│" in table) >= (columns == "200")


def test_a_reader_that_goes_away_and_ctrl_c_leave_no_trace(
    registered: str, bigquery_url: str
) -> None:
    environ = {
        **os.environ,
        "GCP_PROJECT_ID": PROJECT,
        "REGISTRY_TABLE": registered,
        "BIGQUERY_EMULATOR_HOST": bigquery_url,
    }
    python = shlex.quote(sys.executable)

    gone = subprocess.run(
        [
            "/bin/bash",
            "-c",
            f"{python} -m registry models --format csv | true; echo ${{PIPESTATUS[0]}}",
        ],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    with server.bigquery_server([server.silent]) as silent:
        asking = subprocess.Popen(
            [sys.executable, "-m", "registry", "models"],
            cwd=ROOT,
            env={**environ, "BIGQUERY_EMULATOR_HOST": silent.url},
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: len(silent.requests) > 0)
        asking.send_signal(signal.SIGINT)
        said = asking.communicate(timeout=30)[1]

    assert gone.stdout == "141\n"
    assert gone.stderr in {"", STILL_TRYING}
    assert (asking.returncode, said.strip()) == (130, "")


def on_a_terminal(environ: dict[str, str], *words: str) -> str:
    """Run the program as a person would, and return what the terminal shows."""
    main_end, program_end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "registry", *words],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environ},
        stdout=program_end,
    ) as process:
        os.close(program_end)
        shown = b""
        while select.select([main_end], [], [], 30)[0]:
            try:
                shown += os.read(main_end, 10_000)
            except OSError:  # the program has ended
                break
    os.close(main_end)
    assert process.returncode == 0
    return shown.decode()


def test_a_terminal_gets_a_table_in_colour_and_a_pipe_json(
    registered: str, bigquery_url: str
) -> None:
    environ = {
        "GCP_PROJECT_ID": PROJECT,
        "REGISTRY_TABLE": registered,
        "BIGQUERY_EMULATOR_HOST": bigquery_url,
    }

    in_colour = on_a_terminal(environ, "models")
    without = on_a_terminal(environ | {"NO_COLOR": "1"}, "models")
    piped = subprocess.run(
        [sys.executable, "-m", "registry", "models"],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        check=True,
    )

    assert re.search("\x1b\\[[0-9;]*31m[^\x1b]*DIFFERS FROM STAGING", in_colour)
    assert "DIFFERS FROM STAGING" in without
    assert not re.search("\x1b\\[[0-9;]*31m", without)
    assert len(json.loads(piped.stdout)) == 8


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
@pytest.mark.usefixtures("run")
def test_an_end_from_outside_has_the_usual_code(
    error: type[BaseException], status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In this process, where coverage is measured."""

    def end(*_: object) -> None:
        raise error

    monkeypatch.setattr(Inventory, "latest_models", end)
    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)

        assert main(["models"], standalone_mode=False) == status


@pytest.mark.usefixtures("run")
def test_csv_on_a_terminal_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)

    main(["promotions", "--format", "csv"], standalone_mode=False)

    assert r"[red]x\x1b[2J\u202e" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.usefixtures("run")
def test_a_table_ends_quietly_when_its_reader_has_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "output").open("w") as output:

        class Unread(Terminal):
            def write(self, _: str) -> int:
                raise BrokenPipeError

            def fileno(self) -> int:
                return output.fileno()

        monkeypatch.setattr(sys, "stdout", Unread())

        assert main(["promotions"], standalone_mode=False) == 141
