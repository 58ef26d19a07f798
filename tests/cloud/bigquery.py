"""BigQuery, through bq: the statements that deploy/ sends."""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable

from tests.cloud.call import Call, command
from tests.cloud.functions import deliveries
from tests.cloud.project import Failed, Json, Unknown

OPTIONS = "--headless --project_id= --format="
NAME = r"`([^`]+)`\.(\w+)"


@command("show", OPTIONS, tool="bq", api="bigquery")
def _(call: Call) -> None:
    project, _, name = call.arguments[0].rpartition(":")
    call.need_project(project)
    if name not in call.state["datasets"]:
        raise Failed(f"Not found: Dataset {project}:{name}", 2)
    call.out += json.dumps(call.state["datasets"][name], separators=(",", ":"))


@command(
    "query", f"{OPTIONS} --use_legacy_sql= --max_rows= --parameter=", tool="bq", api="bigquery"
)
def _(call: Call) -> None:
    if call.flag("--use_legacy_sql") != "false":
        raise Unknown("legacy SQL")
    for statement in call.arguments[0].split(";\n"):
        for pattern, carry_out in STATEMENTS.items():
            if found := re.match(pattern, statement.strip().removesuffix(";"), re.DOTALL):
                carry_out(call, *found.groups())
                break
        else:
            raise Unknown(statement)


def not_found(project: str, what: str) -> Failed:
    job = f"{project}:bqjob_r3f338b52d000707c_000001a2069926c8_1"
    words = f"Error processing job '{job}': Not found: {what} was not found in location US"
    return Failed(words, 2)


def need_dataset(call: Call, project: str, dataset: str) -> None:
    call.need_project(project)
    if dataset not in call.state["datasets"]:
        raise not_found(project, f"Dataset {project}:{dataset}")


def need_table(call: Call, project: str, table: str) -> None:
    need_dataset(call, project, table.partition(".")[0])
    if table not in call.state["tables"]:
        raise not_found(project, f"Table {project}:{table}")


def create_schema(call: Call, project: str, dataset: str, options: str) -> None:
    call.need_project(project)
    location = re.findall(r'location = "(.*?)"', options)[0]
    call.state["datasets"].setdefault(dataset, {"id": f"{project}:{dataset}", "location": location})


def define(call: Call, verb: str, project: str, table: str, rest: str) -> None:
    need_dataset(call, project, table.partition(".")[0])
    if verb == "ALTER TABLE":
        need_table(call, project, table)
    defined = call.state["routines" if "FUNCTION" in verb else "tables"]
    if "REPLACE" in verb:
        for source in re.findall(rf"`{re.escape(project)}\.(\w+\.[\w-]+)`", rest):
            if source not in call.state["routines"]:
                need_table(call, project, source)
        defined.pop(table, None)
    statements = defined.setdefault(table, [])
    if rest not in statements:
        statements.append(rest)
    call.print(f"Replaced {project}.{table}\n")


def grant(call: Call, role: str, project: str, name: str, member: str) -> None:
    name = name.replace("`", "")
    (need_table if "." in name else need_dataset)(call, project, name)
    call.bind(f"bigquery/{name}", member, role)


def privileges(call: Call, project: str, region: str, schema: str | None, name: str) -> None:
    call.need_project(project)
    call.print("privilege_type,grantee")
    dataset = call.state["datasets"].get(schema or name)
    if dataset and dataset["location"].lower() == region:
        policy = f"bigquery/{schema}.{name}" if schema else f"bigquery/{name}"
        for role, members in call.state["policies"].get(policy, {}).items():
            call.out += "".join(f"{role},{member}\n" for member in members)


def tables(call: Call, project: str, dataset: str) -> None:
    need_dataset(call, project, dataset)
    names = [table.partition(".") for table in call.state["tables"]]
    call.out += "table_name\n" + "".join(f"{n}\n" for of, _, n in names if of == dataset)


def count(call: Call, project: str, table: str, bucket: str, recorded_by: str | None) -> None:
    """Count the rows of an artifact: there is one if a trigger brings the event, after a while."""
    event = recorded_by or "finalized"
    need_table(call, project, table)
    call.project.asked[call.arguments[0]] += 1
    waited = 0 < call.project.row_after <= call.project.asked[call.arguments[0]]
    delivered = event != call.project.silent and deliveries(call.state, event, bucket)
    call.print(f"f0_\n{int(waited and bool(delivered))}")


def naming(call: Call, table: str, condition: str) -> list[Json]:
    """Find the rows that name a model or a person; `minutes` is how old a row is."""
    name = base64.b64decode(call.flag("--parameter").removeprefix("name::")).decode()
    rows = call.state["rows"].get(table, [])
    if condition.startswith("STARTS_WITH"):
        return [row for row in rows if row["gcs_path"].startswith(f"{name}/")]
    return [row for row in rows if row["uploader"] == name]


def count_by_bucket(call: Call, project: str, table: str, condition: str) -> None:
    need_table(call, project, table)
    found = Counter(row["gcs_bucket"] for row in naming(call, table, condition))
    call.print("gcs_bucket,f0_,f1_")
    for bucket, rows in sorted(found.items()):
        call.print(f"{bucket},{rows},2026-03-01 13:31 UTC")


def change_rows(call: Call, verb: str, project: str, table: str, *where: str) -> None:
    """Delete or update rows: none of them may be in the streaming buffer."""
    need_table(call, project, table)
    buckets, condition = where
    condition, only_old, _ = condition.partition(" AND registered_at < ")
    condition, of_removals, _ = condition.partition(" AND recorded_at < ")
    youngest = 90 if only_old or of_removals else 0
    for row in naming(call, table, condition):
        if f"'{row['gcs_bucket']}'" not in buckets or row["minutes"] < youngest:
            continue
        if row["minutes"] < 90:
            words = f"UPDATE or DELETE statement over table {project}.{table} would affect rows in"
            raise Failed(f"{words} the streaming buffer, which is not supported")
        if verb.startswith("DELETE"):
            call.state["rows"][table].remove(row)
        else:
            row |= {"uploader": None, "metadata": None}


STATEMENTS: dict[str, Callable[..., None]] = {
    rf"CREATE SCHEMA IF NOT EXISTS {NAME}\s(.*)": create_schema,
    r"(CREATE TABLE IF NOT EXISTS|ALTER TABLE|CREATE OR REPLACE (?:VIEW|TABLE FUNCTION))"
    r" `([^`]+)\.(\w+\.[\w-]+)`(.*)": define,
    r'GRANT `(.+)` ON (?:SCHEMA|TABLE) `([^`]+)`\.(\S+) TO "(.+)"$': grant,
    r"SELECT privilege_type, grantee FROM `([^`]+)`\.`region-([\w-]+)`\.INFORMATION_SCHEMA\."
    r"OBJECT_PRIVILEGES WHERE (?:object_schema = '(.+)' AND )?object_name = '(.+)'$": privileges,
    rf"SELECT table_name\sFROM {NAME}\.INFORMATION_SCHEMA\.TABLES$": tables,
    r"SELECT COUNT\(\*\) FROM `([^`]+)\.(\w+\.[\w-]+)` WHERE gcs_bucket = '([\w.-]+)'"
    r" AND gcs_path = '[\w/-]+'(?: AND recorded_by = '(\w+)')?$": count,
    r"SELECT gcs_bucket, COUNT\(\*\), .* FROM `([^`]+)\.(\w+\.[\w-]+)` WHERE (.*)"
    r" GROUP BY gcs_bucket ORDER BY gcs_bucket$": count_by_bucket,
    r"(DELETE FROM|UPDATE) `([^`]+)\.(\w+\.[\w-]+)`.* WHERE gcs_bucket IN \((.*?)\)"
    r" AND (.*)": change_rows,
}
