"""Google's own analyzer takes all SQL that we send to BigQuery or show to people."""

import re
import shlex
from datetime import UTC, datetime
from typing import cast

import pytest
from google.cloud import bigquery

from registry import queries as inventory_queries
from registry.condition import Condition
from registry.inventory import Filter, Inventory
from tests import PROJECT, ROOT
from tests.conftest import tracked
from tests.servers.emulator import make_registry, sql_of
from tests.servers.googlesql import GoogleSql, InvalidSql

# BigQuery's own views that the scripts read, with the columns of Google's reference.
INFORMATION_SCHEMA = """
CREATE TABLE INFORMATION_SCHEMA.TABLES (
  table_catalog STRING, table_schema STRING, table_name STRING, table_type STRING
);
CREATE TABLE INFORMATION_SCHEMA.OBJECT_PRIVILEGES (
  object_catalog STRING, object_schema STRING, object_name STRING,
  object_type STRING, privilege_type STRING, grantee STRING
);
"""
# For the variables in the queries of scripts and programs.
VALUES = {
    "$GCP_PROJECT_ID": PROJECT,
    "$REGISTRY_TABLE": "ml_registry.models",
    "$dataset": "ml_registry",
    "$location": "us-central1",
    "$bucket": "ml-models-dev",
    "$artifact": "registry-check/v0/1",
    "$event": "deleted",
    "$where": "object_schema = 'ml_registry' AND object_name = 'models'",
    "{columns}": "* EXCEPT (removed_at)",
    "{table}": f"{PROJECT}.ml_registry.models",
    "{self.dataset}": "ml_registry",
    "{which}": "gcs_path <> 'm/v1/f'",
    "$table": "ml_registry.models",
    "$young": "MAX(registered_at)",
    "$criterion": "STARTS_WITH(gcs_path, 'm/')",
}
NOT_HERE = {
    "deploy/local/bigquery.py",  # it asks DuckDB
    "registry/queries.py",  # it has its own test, with the queries' parameters
}
ASKING = [
    name
    for name in tracked()
    if re.search(r"^(main|registry/.*|deploy/.*)\.(py|sh)$|README\.md$", name)
    and "SELECT " in (ROOT / name).read_text()
    and name not in NOT_HERE
]


@pytest.fixture(scope="module")
def engine() -> GoogleSql:
    """GoogleSQL with the registry's tables and views."""
    engine = GoogleSql(PROJECT)
    make_registry(cast("bigquery.Client", engine), "ml_registry")
    engine.query_and_wait(INFORMATION_SCHEMA)
    return engine


def kinds(engine: GoogleSql, sql: str) -> list[str]:
    """Analyze statements; return which kind each is."""
    names = [type(statement).__name__ for statement in engine.analyze(sql)]
    return [name.removeprefix("Resolved").removesuffix("StmtProto") for name in names]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1-dataset", ["CreateSchema"]),
        ("2-models", ["CreateTable", "AlterTable"]),
        ("3-removals", ["CreateTable"]),
        ("4-registrations", ["CreateTableFunction", "CreateView"]),
        ("5-artifacts", ["CreateTableFunction", "CreateView"]),
        ("5-changes", ["CreateTableFunction", "CreateView"]),
        ("6-model_versions", ["CreateTableFunction", "CreateView"]),
        ("7-promotions", ["CreateTableFunction", "CreateView"]),
        ("8-latest_models", ["CreateTableFunction", "CreateView"]),
        ("9-access-function", ["Grant"] * 3),
        ("9-access-page", ["Grant"]),
        ("9-access-reconciliation", ["Grant"] * 3),
    ],
)
def test_a_file_of_statements_can_be_run_again(
    name: str, expected: list[str], engine: GoogleSql
) -> None:
    member = "serviceAccount:someone@soufianesys.iam.gserviceaccount.com"
    sql = sql_of(name[2:], dataset="ml_registry", member=member)

    assert kinds(engine, sql) == expected


def test_each_file_of_statements_is_in_the_table_above() -> None:
    [mark] = test_a_file_of_statements_can_be_run_again.pytestmark  # type: ignore[attr-defined]

    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "deploy").rglob("*.sql")}
    assert files == {f"deploy/bigquery/{name}.sql" for name, _ in mark.args[1]}


def test_what_the_scripts_send_is_taken() -> None:
    """As --dry-run prints it: for two projects, without comments, quoted for a shell."""
    sent: dict[tuple[str, str], None] = {}  # in order, each once
    for path in sorted((ROOT / "tests/deploy").glob("*.txt")):
        text = path.read_text()
        words = shlex.split(text, comments=True)
        calls = [at for at, word in enumerate(words) if word == "--use_legacy_sql=false"]
        assert len(calls) == text.count("use_legacy_sql")
        for at in calls:
            sent[words[at - 3].removeprefix("--project_id="), words[at + 1]] = None

    engines = {project: GoogleSql(project) for project in (PROJECT, "example.com:acme")}
    found = [kind for project, sql in sent for kind in kinds(engines[project], sql)]
    assert set(found) == {
        *("CreateSchema", "CreateTable", "AlterTable", "CreateTableFunction", "CreateView"),
        "Grant",
    }


def queries(name: str) -> list[str]:
    """Find the queries in a file: SQL blocks of a README, and what is in quotes on one line."""
    text = (ROOT / name).read_text()
    block = re.compile(r"^```sql\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    rest = block.sub("", text)
    quoted = [sql for _, sql in re.findall(r"""(["'])(SELECT .*)\1""", rest)]
    assert len(quoted) == rest.count("SELECT "), f"expected each query of {name} to be found"
    return [*block.findall(text), *quoted]


def test_queries_are_found() -> None:
    known = {"registry/README.md", "deploy/verify.sh", "deploy/lib/bigquery.sh"}
    assert known <= set(ASKING)


@pytest.mark.parametrize("name", ASKING)
def test_each_query_of_a_file_is_taken(name: str, engine: GoogleSql) -> None:
    found = queries(name)

    assert found
    for sql in found:
        plain = re.sub(r"\$\w+|\{[\w.]+\}", lambda found: VALUES[found[0]], sql.replace("\\`", "`"))
        # Which project, dataset or region they are of is not the analyzer's business.
        plain = re.sub(r"`[^`]+`\.(\w+|`[^`]+`)\.(?=INFORMATION_SCHEMA)", "", plain)
        assert kinds(engine, plain) == ["Query"]


def test_each_query_of_the_inventory_is_taken_with_its_parameters(
    engine: GoogleSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set()

    def query_and_wait(sql: str, job_config: bigquery.QueryJobConfig, **_: object) -> list[object]:
        assert list(engine.analyze(sql, job_config))
        asked.add(sql)
        return []

    monkeypatch.setattr(engine, "query_and_wait", query_and_wait)
    inventory = Inventory(cast("bigquery.Client", engine), "ml_registry.models")

    for wanted in (Filter(), Filter(where=[Condition("k", "=", "v")])):
        inventory.latest_models(wanted)
        inventory.model_versions("m", wanted)
        inventory.model_version_files("m", wanted)
    inventory.model_history("m", None, newest=9, versions=1, drawn=1, files=1)
    inventory.model_names()
    inventory.model_version_folders("m")
    inventory.compared_files("m", 1, 2)
    inventory.promotions()
    inventory.promotions("m", Filter(environments=["prod"], limit=1))
    inventory.changes()
    inventory.changes("m", Filter(as_of=datetime(2026, 3, 1, tzinfo=UTC)))
    inventory.unlike_staging()
    inventory.generations("ml-models-dev", "m/v1/f")
    assert list(inventory.registered("ml-models-dev")) == []

    dataset = f"{PROJECT}.ml_registry"
    fitting = {
        inventory_queries.FITTING.format(dataset=dataset, among=among)
        for among in ("TRUE", "model_name = @model_name")
    }
    texts = {
        sql.format(dataset=dataset, fitting="")
        for name, sql in vars(inventory_queries).items()
        if "SELECT" in str(sql) and name != "FITTING"
    }
    filtered = {sql for sql in asked if any(one in sql for one in fitting)}
    assert len(filtered) == 3
    asked -= filtered
    assert asked == texts


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT COUNT(*) AS rows FROM {}.models", "Unexpected keyword ROWS"),
        ("SELECT DISTINCT metadata FROM {}.models", "JSON cannot be used in SELECT DISTINCT"),
        ("SELECT model_name AS m FROM {}.models WHERE m = 'x'", "Unrecognized name: m"),
        ("SELECT LAG(crc32c) OVER () FROM {}.models", "ORDER BY is required"),
        ("CREATE VIEW {}.v AS SELECT COUNT(*) FROM {}.models", "must be named"),
        ("CREATE TABLE {}.t (a JSON) CLUSTER BY a", "must be groupable"),
        ("CREATE TABLE {}.u (a INT64 OPTIONS (comment = ''))", "Unknown option: comment"),
        ("SELECT ARRAY_AGG(crc32c IGNORE NULLS) OVER () FROM {}.models", "IGNORE NULLS"),
    ],
)
def test_what_the_emulator_takes_and_bigquery_does_not_is_refused(
    sql: str, reason: str, engine: GoogleSql, client: bigquery.Client, dataset: str
) -> None:
    client.query_and_wait(sql.replace("{}", dataset))

    with pytest.raises(InvalidSql, match=reason):
        engine.query_and_wait(sql.replace("{}", "ml_registry"))
