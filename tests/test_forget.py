"""forget.sh: a model or a person goes, nothing else does, and what cannot go is named."""

import json
import os
import pty
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.cloud import bigquery

from tests import PROJECT
from tests.cloud.project import Json
from tests.cloud.storage import stored
from tests.conftest import insert, written
from tests.servers.emulator import apply_sql, sql_of
from tests.servers.googlesql import GoogleSql
from tests.servers.scripts import Cloud, Ended, at_once
from tests.test_deploy import one_line
from tests.test_gcloud import GCLOUD, gcloud

DEV, STAGING = "ml-models-dev", "ml-models-staging"
AGAIN = "run it again after 2026-03-01 13:31 UTC"


def put(cloud: Cloud, bucket: str, name: str, *uploaders: str, minutes: int = 1000) -> None:
    """Add generations of an object, and a row for each."""
    for generation, uploader in enumerate(uploaders, start=1):
        metadata = {"uploader": uploader} if uploader else {}
        cloud.state["objects"].append(stored(bucket, name, generation, metadata=metadata))
        row(cloud, bucket, name, uploader or None, minutes)


def row(cloud: Cloud, bucket: str, name: str, uploader: str | None, minutes: int) -> None:
    """Add a row that was written some minutes ago."""
    columns = {"gcs_bucket": bucket, "gcs_path": name, "uploader": uploader, "minutes": minutes}
    cloud.state["rows"].setdefault("ml_registry.models", []).append(columns)


def removed(cloud: Cloud, name: str, minutes: int = 1000) -> None:
    """Add a row that says so of an object."""
    columns = {"gcs_bucket": DEV, "gcs_path": name, "minutes": minutes}
    cloud.state["rows"].setdefault("ml_registry.removals", []).append(columns)


def names(state: Json) -> list[str]:
    """List the objects, live and noncurrent, and the rows that are left."""
    objects = {f"{one['bucket'][10:]}:{one['name']}" for one in state["objects"]}
    rows = {
        f"{one['gcs_bucket'][10:]}={one['gcs_path']}"
        for all_ in state["rows"].values()
        for one in all_
    }
    return sorted(objects | rows)


@pytest.fixture
def filled(ready: Cloud) -> Cloud:
    """A project with two buckets, in which ada and grace have uploaded models."""
    ready.state["buckets"][f"gs://{STAGING}"] = {
        **ready.state["buckets"][f"gs://{DEV}"],
        "softDeletePolicy": {"retentionDurationSeconds": "172800"},
        "retentionPolicy": {"retentionPeriod": "3600"},
    }
    put(ready, DEV, "churn/v1/model.pkl", "ada", "grace", "ada")
    put(ready, DEV, "churn/README.md", "ada")
    put(ready, STAGING, "churn/v1/model.pkl", "ada")
    put(ready, DEV, "churn-2/v1/model.pkl", "ada", "")
    put(ready, DEV, "new/churn/v1/model.pkl", "adam")
    removed(ready, "churn/v0/gone.pkl")
    removed(ready, "churn-2/v0/gone.pkl")
    ready.project.states.clear()
    return ready


OTHERS = [
    *("dev:churn-2/v1/model.pkl", "dev:new/churn/v1/model.pkl"),
    *("dev=churn-2/v0/gone.pkl", "dev=churn-2/v1/model.pkl", "dev=new/churn/v1/model.pkl"),
]


def test_a_model_goes_with_all_generations_and_rows_and_no_other_does(filled: Cloud) -> None:
    ended = filled.do("forget", "--model", "churn", "--yes")

    assert names(filled.state) == OTHERS
    assert "dev, gs://ml-models-dev: objects: 2 in 4 generations, 40 bytes;" in ended.out
    assert "; rows of ml_registry.models: 4; rows of ml_registry.removals: 1\n" in ended.out
    assert ended.out.endswith("\nForgotten: the model churn\n")
    # The objects are gone before the rows: otherwise a reconciliation would register them again.
    assert [change.split()[0] for change in ended.changes] == ["curl", "curl", "bq", "bq"]


def test_of_a_person_the_name_goes_and_the_models_stay(filled: Cloud) -> None:
    before = names(filled.state)

    filled.do("forget", "--uploader", "ada", "--yes")

    assert names(filled.state) == before
    left = [one["metadata"].get("uploader") for one in filled.state["objects"]]
    assert left == [None, "grace", None, None, None, None, None, "adam"]
    rows = filled.state["rows"]["ml_registry.models"]
    assert [one["uploader"] for one in rows] == left


def test_one_environment_is_enough_if_it_is_named(filled: Cloud) -> None:
    ended = filled.do("forget", "--model", "churn", "--yes", "dev")

    assert names(filled.state) == sorted(
        [*OTHERS, "staging:churn/v1/model.pkl", "staging=churn/v1/model.pkl"]
    )
    assert "rows of other buckets, which stay: ml-models-staging\n" in ended.out


@pytest.mark.parametrize("option", ["--model", "--uploader"])
def test_a_dry_run_shows_what_would_go_and_what_cannot_and_changes_nothing(
    filled: Cloud, option: str
) -> None:
    name = "churn" if option == "--model" else "ada"
    filled.state["lacking"] = ["storage.objects.delete", "storage.objects.update"]  # not needed

    ended = filled.do("forget", option, name, "--dry-run")

    assert (ended.changes, ended.err) == ([], "")
    for line in (
        "  gs://ml-models-dev/churn/v1/model.pkl#1",
        "  gs://ml-models-dev/churn/v1/model.pkl#3",
        "  gs://ml-models-staging/churn/v1/model.pkl#1",
        "prod, gs://ml-models-prod: objects: 0 in 0 generations, 0 bytes;",
        "- gs://ml-models-staging: what was deleted stays soft-deleted for 2 days, until 20",
        "- gs://ml-models-staging: what is younger than its retention period of 1 hours",
        "- ml_registry: the rows as they were, for 7 days of time travel, until 20",
        "audit logs",
        "dead letters",
    ):
        assert f"\n{line}" in f"\n{ended.out}" or line in ended.out.rpartition("stays")[2]
    assert "Forgotten" not in ended.out


def test_the_time_travel_is_that_of_the_dataset(filled: Cloud) -> None:
    filled.state["datasets"]["ml_registry"]["maxTimeTravelHours"] = "48"

    assert "for 2 days of time travel" in filled.do("forget", "--model", "churn", "--dry-run").out


@pytest.mark.parametrize("options", ["--yes", "--dry-run"])
def test_when_nothing_is_left_it_says_so(filled: Cloud, options: str) -> None:
    ended = filled.do("forget", "--model", "Churn", options)

    assert ended.changes == []
    assert ended.out.endswith("\nNothing of the model Churn is left to remove.\n")


HOSTILE = [
    "NULL",  # for bq no value
    "[a]",
    "**",
    "a#7",
    "%2F ü",
    "--yes",
    "$(false)`x`",
    "';DROP TABLE x;--",
    '"x\\|y',
]


@pytest.mark.parametrize("option", ["--model", "--uploader"])
def test_names_are_taken_literally(filled: Cloud, option: str) -> None:
    for one in HOSTILE:
        put(filled, DEV, f"{one}/v1/{one}", one, one)
    before = names(filled.state)

    def forget(one: str) -> tuple[str, Json]:
        twin = filled.twin(filled.state)
        ended = twin.do("forget", option, one, "--yes", "dev")
        assert "objects: 1 in 2 generations" in ended.out
        return one, twin.state

    for one, state in at_once(forget, HOSTILE):
        gone = {f"dev:{one}/v1/{one}", f"dev={one}/v1/{one}"} if option == "--model" else set()
        assert names(state) == sorted({*before} - gone)
        found = {item["metadata"].get("uploader") for item in state["objects"]}
        assert one not in found
        assert len(found) >= len(HOSTILE)


def test_a_name_cannot_write_to_the_terminal(filled: Cloud) -> None:
    put(filled, DEV, "churn/v1/\x1b[2Jx", "ada")

    out = filled.do("forget", "--model", "churn", "--dry-run").out

    assert "\x1b" not in out
    assert r"\E[2Jx" in out


@pytest.mark.parametrize("call", [["--model", "churn"], ["--uploader", "ada"]])
def test_rows_that_are_too_young_stay_and_it_says_until_when(
    filled: Cloud, call: Sequence[str]
) -> None:
    put(filled, DEV, "churn/v2/model.pkl", "ada", minutes=89)
    removed(filled, "churn/v3/gone.pkl", minutes=5)
    twin = filled.twin(filled.state)
    for rows in twin.state["rows"].values():
        for one in rows:
            one["minutes"] += 1000
    twin.do("forget", *call, "--yes")
    left = 2 if "--model" in call else 1

    ended = filled.run("forget", *call, "--yes")

    assert ended.status == 1
    assert ended.err.splitlines()[-1] == (
        "forget.sh: expected nothing to be left,"
        f" found {left} rows that BigQuery cannot change yet: {AGAIN}"
    )
    young = [one for rows in filled.state["rows"].values() for one in rows if one["minutes"] < 90]
    assert len(young) == 2
    for one in young:
        one["minutes"] += 1000
    filled.do("forget", *call, "--yes")
    assert names(filled.state) == names(twin.state)


def test_what_may_not_be_deleted_is_named_and_its_rows_stay(filled: Cloud) -> None:
    filled.state["objects"][0]["hold"] = "Event-Based"

    ended = filled.run("forget", "--model", "churn", "--yes")

    assert ended.status == 1
    assert ended.err.splitlines()[-1].startswith(
        "forget.sh: expected to change all in gs://ml-models-dev, found 1 refused, first"
        " gs://ml-models-dev/churn/v1/model.pkl#1: Object is under active Event-Based hold.: when"
    )
    # The rows stay until then, and so do the buckets that come after it.
    assert [change.split()[0] for change in ended.changes] == ["curl"]
    assert "dev=churn/v0/gone.pkl" in names(filled.state)
    del filled.state["objects"][0]["hold"]
    filled.do("forget", "--model", "churn", "--yes")
    assert names(filled.state) == OTHERS


@pytest.mark.parametrize("call", ["--model churn", "--uploader ada"])
def test_a_run_that_stops_anywhere_is_completed_by_the_next(filled: Cloud, call: str) -> None:
    words = ["forget", *call.split(), "--yes"]
    start, whole = filled.state, filled.twin(filled.state)
    whole.do(*words)
    starts = [start, *whole.project.states]
    assert starts.pop() == whole.state

    def stop(at: Json) -> None:
        twin = filled.twin(at)
        twin.fault("denied", changes=True)
        ended = twin.run(*words)
        assert (ended.status, twin.state) == (1, at), ended.err
        assert re.search("Access\\s+Denied|found . refused, first gs://.*: no answer", ended.err)
        twin.do(*words)
        assert twin.state == whole.state

    at_once(stop, starts)


@pytest.mark.parametrize("words", ["denied", "unavailable"])
def test_a_look_that_fails_is_not_taken_for_nothing(filled: Cloud, words: str) -> None:
    def blind(command: str) -> Ended:
        twin = filled.twin(filled.state)
        twin.fault(words, command, times=100)
        return twin.run("forget", "--model", "churn", "--yes")

    for ended in at_once(blind, ["buckets describe", "objects list", "bq "]):
        assert (ended.status, "Forgotten" in ended.out, ended.changes) == (1, False, [])


def test_nothing_is_removed_by_somebody_without_the_permissions(filled: Cloud) -> None:
    for option, name, lacking in (
        ("--model", "churn", "storage.objects.delete"),
        ("--uploader", "ada", "bigquery.tables.updateData storage.objects.update"),
    ):
        filled.state["lacking"] = lacking.split()
        ended = filled.run("forget", option, name, "--yes")
        assert (ended.status, ended.changes, one_line(ended.err)) == (1, [], True)
        assert f"for {lacking}, found none" in ended.err


@pytest.mark.parametrize("missing", ["tables:ml_registry.removals", "datasets:ml_registry"])
def test_without_the_tables_it_says_how_to_make_them(filled: Cloud, missing: str) -> None:
    kind, _, name = missing.partition(":")
    del filled.state[kind][name]

    ended = filled.run("forget", "--model", "churn", "--yes")

    assert (ended.status, ended.changes, one_line(ended.err)) == (1, [], True)
    assert "found none: run deploy/setup.sh" in ended.err


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_it_asks_somebody_at_a_terminal(filled: Cloud, answer: str, status: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        ended = filled.run("forget", "--model", "churn", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert ended.status == status
    assert "Forget the model churn of soufianesys? [y/N]" in ended.err
    assert (ended.changes == []) == bool(status)


def test_it_needs_a_yes_where_nobody_can_be_asked(filled: Cloud) -> None:
    ended = filled.run("forget", "--model", "churn")

    assert (ended.status, ended.changes) == (2, [])
    assert "--yes" in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected --model or --uploader, found neither"),
        (["dev"], "expected --model or --uploader, found neither"),
        (["--model"], "--model: expected a name, found nothing"),
        (["--uploader", ""], "--uploader: expected a name, found nothing"),
        (["--model", "a", "--uploader", "b"], "expected --model or --uploader once"),
        (["--model", "a", "--model", "b"], "expected --model or --uploader once"),
        (["--model", "churn/v1"], "--model: expected the name of a model, which has no slash"),
        (["--model", "a", "test"], "expected --model, --uploader, .* found test"),
    ],
)
def test_bad_arguments_are_explained(cloud: Cloud, words: Sequence[str], message: str) -> None:
    ended = cloud.run("forget", *words)

    assert (ended.status, ended.out, ended.commands) == (2, "", [])
    assert re.match(rf"forget\.sh: {message}", ended.err)
    assert "\nUsage: deploy/forget.sh " in ended.err


# --- What is sent, to the real ones ---------------------------------------------------------------


def sent(cloud: Cloud) -> list[tuple[str, bigquery.QueryJobConfig]]:
    """Return the statements that were sent, with their parameter."""
    statements = {}
    for command in cloud.project.commands:
        for flag in command.flags & {f for f in command.flags if f.startswith("--parameter=")}:
            name, _, value = flag.removeprefix("--parameter=").partition("::")
            parameters = [bigquery.ScalarQueryParameter(name, "STRING", value)]
            config = bigquery.QueryJobConfig(query_parameters=parameters)
            statements[command.words[-1]] = config
    return [*statements.items()]


def forget_young(cloud: Cloud, *call: str) -> list[tuple[str, bigquery.QueryJobConfig]]:
    put(cloud, DEV, "churn/v2/model.pkl", "ada", minutes=5)
    cloud.run("forget", *call, "--yes")
    return sent(cloud)


def test_googles_analyzer_takes_each_statement(filled: Cloud) -> None:
    engine = GoogleSql(PROJECT)
    for name in ("models", "removals"):
        list(engine.analyze(sql_of(name, dataset="ml_registry")))
    twin = filled.twin(filled.state)
    statements = forget_young(filled, "--model", "churn") + forget_young(twin, "--uploader", "ada")

    kinds = [
        type(statement).__name__.removeprefix("Resolved").removesuffix("StmtProto")
        for sql, config in statements
        for statement in engine.analyze(sql, config)
    ]

    assert kinds == ["Query"] * 2 + ["Delete"] * 3 + ["Query"] + ["Update"] * 2


@pytest.fixture
def rows(client: bigquery.Client) -> Iterator[str]:
    """The rows of two models, by two people, on the emulator; returns the dataset."""
    dataset = "test_forget"
    for name in ("dataset", "models", "removals"):
        apply_sql(client, name, dataset=dataset)
    of_ada = {"uploader": "ada", "metadata": json.dumps({"uploader": "ada"})}
    more = {"uploader": "ada", "metadata": json.dumps({"uploader": "ada", "run": "7"})}
    uploads = [
        written("churn/v1/a", "dev", 1, **of_ada),
        written("churn/v1/b", "dev", 2, **more),
        written("churn/v1/c", "dev", 3, uploader="grace", metadata=json.dumps({"run": "8"})),
        written("churn-2/v1/a", "dev", 4, uploader="grace"),
        written("churn/v1/a", "prod", 5, uploader="ada"),
    ]
    insert(client, dataset, uploads)
    yield dataset
    client.delete_dataset(dataset, delete_contents=True)


@pytest.mark.parametrize(
    ("call", "left"),
    [
        (
            "--model churn dev",
            [("churn-2/v1/a", "dev", "grace", None), ("churn/v1/a", "prod", "ada", None)],
        ),
        (
            "--uploader ada dev",
            [
                ("churn-2/v1/a", "dev", "grace", None),
                ("churn/v1/a", "dev", None, None),
                ("churn/v1/a", "prod", "ada", None),
                ("churn/v1/b", "dev", None, {"run": "7"}),
                ("churn/v1/c", "dev", "grace", {"run": "8"}),
            ],
        ),
    ],
)
def test_the_statements_do_on_a_database_what_they_should(
    filled: Cloud, client: bigquery.Client, rows: str, call: str, left: list[object]
) -> None:
    statements = forget_young(filled, *call.split())
    for sql, config in statements:
        client.query_and_wait(sql.replace("ml_registry", rows), job_config=config)

    assert len(statements) == (5 if "model" in call else 3)
    config = bigquery.QueryJobConfig(default_dataset=f"{PROJECT}.{rows}")
    query = "SELECT gcs_path, environment, uploader, metadata FROM models ORDER BY 1, 2"
    found = client.query_and_wait(query, job_config=config)
    assert [row.values() for row in found] == left


@GCLOUD
def test_gcloud_knows_the_commands(filled: Cloud, tmp_path: Path) -> None:
    ended = filled.do("forget", "--model", "churn", "--yes")
    lines = {str(c) for c in ended.commands if c.tool == "gcloud"}
    file = tmp_path / "commands.json"
    file.write_text(json.dumps([{"command_string": line} for line in sorted(lines)]))

    checked = json.loads(
        gcloud(tmp_path, "meta", "lint-gcloud-commands", f"--commands-file={file}")
    )

    assert [(c["command_string"], c["error_message"]) for c in checked if not c["success"]] == []
    assert any(line.startswith("gcloud storage objects list ") for line in lines)
