"""What each deploy script does that the others do not."""

import copy
import json
import os
import pty
import re
import signal

import pytest

from tests.cloud.project import NUMBER, Json
from tests.conftest import EACH
from tests.processes import wait_until
from tests.servers.emulator import VIEWS
from tests.servers.scripts import Cloud, Ended
from tests.test_deploy import ACME, ENVIRONMENTS, one_line

DOMAIN = "soufianesys.iam.gserviceaccount.com"
DEPLOYER = ("user:me@example.com", "roles/iam.serviceAccountUser")


def fails(cloud: Cloud, call: str, *messages: str) -> Ended:
    """Run a script that has to end with one line before it changes anything."""
    ended = cloud.run(*call.split())
    assert (ended.status, ended.changes) == (1, [])
    assert one_line(ended.err), ended.err
    for message in messages:
        assert message in ended.err
    return ended


def test_the_function_may_append_to_two_tables_and_little_else(
    cloud: Cloud, reached: dict[str, list[Json]]
) -> None:
    """Whatever scripts have run; and only the deployer may act as its account."""
    cloud.project.state = copy.deepcopy(reached[EACH[-1]][0])
    cloud.do("setup")
    cloud.do("prod")

    # What was deployed may be called, and nothing else.
    called = {
        name: [(f"run services/model-registry-{name}", "roles/run.invoker")] * (name != "staging")
        for name in ENVIRONMENTS
    }
    for name in ENVIRONMENTS:
        email = f"model-registry-sa-{name}@{DOMAIN}"
        granted = {
            (policy, role)
            for policy, roles in cloud.state["policies"].items()
            for role, members in roles.items()
            if f"serviceAccount:{email}" in members or "all" in str(members)
        }
        assert granted == {
            ("projects/soufianesys", "roles/eventarc.eventReceiver"),
            *called[name],
            ("bigquery/ml_registry", "roles/bigquery.metadataViewer"),
            ("bigquery/ml_registry.models", "roles/bigquery.dataEditor"),
            ("bigquery/ml_registry.removals", "roles/bigquery.dataEditor"),
        }
        assert cloud.project.bindings(f"iam service-accounts/{email}") == {DEPLOYER}
    assert not [command for command in cloud.project.commands if " keys " in str(command)]


def test_setup_for_one_more_environment_leaves_the_others_alone(ready: Cloud) -> None:
    changes = "\n".join(ready.do("setup", "prod").changes)

    assert "gs://ml-models-prod" in changes
    assert not re.search(
        r"-dev\b|services enable|CREATE|delete|remove|set-iam-policy|--force", changes
    )


def test_a_bucket_elsewhere_stays_there_and_so_does_its_trigger(cloud: Cloud) -> None:
    there = {"location": "EU", "projectNumber": NUMBER}
    cloud.state["buckets"] = {"gs://ml-models-dev": there}

    cloud.do("setup", "dev")
    deploy = cloud.do("dev").of("gcloud functions deploy")

    assert cloud.state["buckets"] == {"gs://ml-models-dev": there}
    assert {"--trigger-location=eu", "--region=us-central1"} <= deploy.flags
    places = {trigger["name"].split("/")[3] for trigger in cloud.state["triggers"].values()}
    assert places == {"eu"}


def test_a_dataset_elsewhere_stays_there_and_its_access_is_looked_up_there(ready: Cloud) -> None:
    ready.state["datasets"]["ml_registry"]["location"] = "EU"

    assert ready.do("setup", "dev").changes == []
    ready.do("dev")


def test_a_project_of_a_domain_has_its_accounts_elsewhere(cloud: Cloud) -> None:
    cloud.environ |= ACME
    cloud.state["project"] = "example.com:acme"

    cloud.do("setup", "dev")
    cloud.do("dev")

    assert "acme-sa-dev@acme.example.com.iam.gserviceaccount.com" in cloud.state["accounts"]
    assert cloud.do("setup", "dev").changes == []


# --- What setup.sh has not left -------------------------------------------------------------------


def take(state: Json, what: str) -> None:
    """Take away something of a project, named `<kind>` or `<kind>:<name>`."""
    kind, _, name = what.partition(":")
    before = copy.deepcopy(state)
    if kind == "role":
        for roles in state["policies"].values():
            roles.pop(f"roles/{name}", None)
    elif name:
        del state[kind][name]
    else:
        state[kind].clear()
    assert state != before


EVERYWHERE = [
    "datasets ml_registry",
    f"accounts:model-registry-build@{DOMAIN} service account model-registry-build@{DOMAIN}",
    *(f"tables:ml_registry.{name} ml_registry.{name}" for name in ["models", "removals", *VIEWS]),
]


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        *(("dev", missing) for missing in EVERYWHERE),
        *(("inventory", missing) for missing in EVERYWHERE),
        *(("reconcile dev", missing) for missing in [*EVERYWHERE, "buckets gs://ml-models-dev"]),
        ("dev", "buckets gs://ml-models-dev"),
        ("dev", f"accounts:model-registry-sa-dev@{DOMAIN} account model-registry-sa-dev@{DOMAIN}"),
        ("dev", "role:eventarc.eventReceiver roles/eventarc.eventReceiver"),
        ("dev", "role:run.builder roles/run.builder"),
        ("inventory", "role:run.builder roles/run.builder"),
        ("dev", "role:pubsub.publisher roles/pubsub.publisher"),
        ("dev", "role:bigquery.dataEditor roles/bigquery.dataEditor"),
        ("dev", "role:bigquery.metadataViewer roles/bigquery.metadataViewer"),
    ],
)
def test_a_missing_part_of_the_setup_is_named_before_anything_is_changed(
    ready: Cloud, reached: dict[str, list[Json]], call: str, missing: str
) -> None:
    what, _, name = missing.partition(" ")
    take(ready.state, what)

    fails(ready, call, name, "run deploy/setup.sh")

    ready.do("setup", "dev")
    assert ready.state == reached["dev"][0]


def test_a_role_of_another_account_does_not_count(ready: Cloud) -> None:
    """Also not if its name begins with the same letters."""
    other = json.loads(json.dumps(ready.state["policies"]).replace("sa-dev@", "sa-dev2@"))
    ready.state["policies"] = other

    fails(ready, "dev", "run deploy/setup.sh dev")


def test_a_deployment_that_fails_for_another_reason_is_not_repeated(ready: Cloud) -> None:
    ready.fault("denied", "functions deploy")

    ended = ready.run("dev")

    assert (ended.status, ended.sleeps, len(ended.changes)) == (1, [], 1)
    assert "PERMISSION_DENIED" in ended.err
    assert "ask an owner of soufianesys to run it" in ended.err


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        (
            "dev",
            r"gcloud storage cp \S+ gs://ml-models-dev/\S+/v1/.*|bq query .*|deploy/logs\.sh dev",
        ),
        ("inventory", "gcloud run services proxy model-registry-inventory .*"),
        (
            "reconcile dev",
            r"gcloud scheduler jobs run \S+-reconcile-dev .*|deploy/logs\.sh reconcile-dev",
        ),
    ],
)
def test_a_deployment_says_how_to_see_it_work(ready: Cloud, call: str, lines: str) -> None:
    out = ready.do(*call.split()).out

    for line in lines.split("|"):
        assert re.search(f"^{line}$", out, re.MULTILINE)


@pytest.mark.parametrize("what", ["URL", "account"])
def test_a_job_that_is_different_is_updated(deployed: Cloud, what: str) -> None:
    before = copy.deepcopy(deployed.state)
    job = deployed.state["jobs"]["model-registry-reconcile-dev"]
    {
        "URL": lambda: job["httpTarget"].update(uri="https://older.a.run.app/"),
        "account": lambda: job["httpTarget"]["oidcToken"].update(serviceAccountEmail="another"),
    }[what]()

    [change] = deployed.do("reconcile", "dev").changes

    assert change.startswith("gcloud scheduler jobs update http model-registry-reconcile-dev ")
    assert deployed.state == before


def test_a_job_keeps_its_schedule_unless_another_is_given(deployed: Cloud) -> None:
    job = deployed.state["jobs"]["model-registry-reconcile-dev"]
    job |= {"schedule": "0 4 * * 1", "timeZone": "Europe/Berlin"}
    kept = copy.deepcopy(deployed.state)

    same = deployed.do("reconcile", "dev")
    assert deployed.state == kept
    assert "runs at 0 4 * * 1, Europe/Berlin." in same.out
    deployed.do("reconcile", "dev", "--schedule", "0 5 * * *")

    job = deployed.state["jobs"]["model-registry-reconcile-dev"]
    assert (job["schedule"], job["timeZone"]) == ("0 5 * * *", "Etc/UTC")


def test_only_a_new_function_is_closed_to_anonymous_calls(deployed: Cloud) -> None:
    """Who may only deploy may not set a policy; and that of a function stays."""
    for call in EACH[1:4]:
        deploy = deployed.do(*call.split()).of("gcloud functions deploy")
        assert "--no-allow-unauthenticated" not in deploy.flags


def test_a_new_trigger_without_dead_letters_is_told(deployed: Cloud) -> None:
    hint = "run deploy/monitoring.sh dev, so that dead letters are kept"
    assert hint not in deployed.do("dev").out
    for subscription in deployed.state["subscriptions"].values():
        subscription.pop("deadLetterPolicy", None)

    assert hint in deployed.do("dev").out


@pytest.mark.parametrize("versioned", [True, False])
def test_verify_waits_for_the_rows_and_removes_what_it_uploaded(
    deployed: Cloud, *, versioned: bool
) -> None:
    """A bucket that keeps what is removed sends two events, one after the other."""
    deployed.project.row_after = 3
    if not versioned:
        del deployed.state["buckets"]["gs://ml-models-dev"]["versioning"]

    ended = deployed.do("verify", "dev")

    [url] = [word for word in ended.of("gcloud storage cp").words if word.startswith("gs://")]
    assert re.fullmatch(r"gs://ml-models-dev/registry-check/v0/\S+", url)
    removals = [change for change in ended.changes if change.startswith(f"gcloud storage rm {url}")]
    assert ["--all-versions" in change for change in removals] == [False] * versioned + [True]
    said = ["was registered", *["was removed, and its removal recorded"] * versioned]
    said.append("was deleted, and that recorded")
    assert re.findall(rf"^{url} (.*) after \d+ s$", ended.out, re.MULTILINE) == said
    assert len(re.findall("^waiting for ", ended.err, re.MULTILINE)) == 2 * len(said)
    assert deployed.state["objects"] == []


BROKEN = {
    "buckets": "the bucket is the broken link: .* is not there: run deploy/setup.sh dev",
    "functions:model-registry-dev": "the function is the broken link: .* run deploy/dev.sh",
    "state": "the function is the broken link: .* is FAILED: run deploy/dev.sh",
    "trigger": "the trigger is the broken link: .* has none: run deploy/dev.sh",
    "triggers": "the trigger is the broken link: .* was deleted: run deploy/delete.sh dev, and",
    "disabled": "sa-dev@.* disabled: gcloud iam service-accounts enable model-registry-sa-dev@",
    "role:eventarc.serviceAgent": "Eventarc's agent lacks its role: gcloud projects add-iam-",
    "old": "Pub/Sub's agent may not sign .*: gcloud iam service-accounts add-iam-policy-binding",
    "retry": "the trigger is the broken link: it does not retry: run deploy/dev.sh",
    "role:run.invoker": "sa-dev@.* may not call model-registry-dev: run deploy/dev.sh",
    "role:run.builder": "roles/run.builder for .*build@.*the permissions is the broken link",
    "role:bigquery.dataEditor": "dataEditor.*the permissions is the broken link",
    "errors": "the function is the broken link: its last errors: .*BigQuery said no",
    "nothing": "the trigger is the broken link: no event came",
    "tables": "the table is the broken link: .* run deploy/setup.sh dev",
    "datasets": "the table is the broken link: .* run deploy/setup.sh dev",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_verify_says_which_link_is_broken_and_leaves_nothing(deployed: Cloud, broken: str) -> None:
    deployed.project.row_after, deployed.project.sleep = -1, 1
    deployed.environ["VERIFY_SECONDS"] = "1"
    function = deployed.state["functions"]["model-registry-dev"]
    match broken:
        case "state":
            function["state"] = "FAILED"
        case "trigger":
            function["eventTrigger"] = {}
        case "disabled":
            account = f"model-registry-sa-dev@{DOMAIN}"
            deployed.state["accounts"][account]["disabled"] = True
        case "old":
            deployed.state["created"] = "2021-04-07T12:00:00Z"
        case "retry":
            function["eventTrigger"]["retryPolicy"] = "RETRY_POLICY_DO_NOT_RETRY"
        case "errors":
            line = {"timestamp": "2026-03-01T12:00:00Z", "severity": "ERROR"}
            deployed.project.lines = [{**line, "jsonPayload": {"message": "BigQuery said no"}}]
        case "nothing":
            pass
        case _:
            take(deployed.state, broken)

    ended = deployed.run("verify", "dev")

    assert ended.status == 1
    assert re.search(BROKEN[broken], ended.err, re.DOTALL), ended.err
    assert deployed.state["objects"] == []


def test_verify_does_not_take_a_denied_query_for_a_missing_table(deployed: Cloud) -> None:
    deployed.fault("denied", "SELECT COUNT")

    ended = deployed.run("verify", "dev")

    assert ended.status == 1
    assert "Access Denied" in ended.err
    assert "is not there" not in ended.err
    assert deployed.state["objects"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_verify_removes_what_it_uploaded_when_it_is_ended(
    deployed: Cloud, number: signal.Signals
) -> None:
    project = deployed.project
    project.row_after, project.sleep = -1, 30
    with deployed.start("verify", "dev", start_new_session=True) as process:
        wait_until(lambda: any(command.tool == "sleep" for command in project.commands))
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=20)

    assert process.returncode != 0
    assert project.state["objects"] == [], err


def test_delete_needs_a_yes_where_nobody_can_be_asked(deployed: Cloud) -> None:
    ended = deployed.run("delete", "dev")

    assert (ended.status, ended.changes) == (2, [])
    assert "--yes" in ended.err


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_delete_asks_somebody_at_a_terminal(deployed: Cloud, answer: str, left: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        ended = deployed.run("delete", "dev", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert ended.status == left
    assert ("model-registry-dev" in deployed.state["functions"]) is bool(left)
    assert "Delete the function model-registry-dev of soufianesys?" in ended.err


def test_delete_removes_the_function_and_what_comes_with_it_and_nothing_else(
    ready: Cloud, reached: dict[str, list[Json]]
) -> None:
    ready.do("dev")
    ready.do("delete", "--yes", "dev")

    assert ready.state == reached["dev"][0]
    fails(ready, "delete dev --yes", "expected the function model-registry-dev")


def test_a_job_whose_function_is_gone_can_be_deleted(deployed: Cloud) -> None:
    del deployed.state["functions"]["model-registry-reconcile-dev"]

    [job, alert] = deployed.do("delete", "reconcile-dev", "--yes").changes

    assert job.startswith("gcloud scheduler jobs delete model-registry-reconcile-dev ")
    assert alert.startswith("gcloud alpha monitoring policies delete ")


def test_without_the_api_of_cloud_scheduler_there_is_no_job_to_delete(deployed: Cloud) -> None:
    deployed.state["apis"].remove("cloudscheduler.googleapis.com")

    deployed.do("delete", "reconcile-dev", "--yes")

    assert "model-registry-reconcile-dev" not in deployed.state["functions"]


def test_logs_are_readable_and_the_newest_comes_last(deployed: Cloud) -> None:
    contents: list[Json] = [
        {"severity": "ERROR", "jsonPayload": {"message": "it failed"}},
        {"severity": "INFO", "textPayload": "it began"},
        {"severity": "INFO", "jsonPayload": {"message": "registered"}},
        {"severity": "INFO", "httpRequest": {"requestUrl": "https://inventory/"}},
    ]
    deployed.project.lines = [
        {"timestamp": f"2026-03-01T12:0{minute}:30.123456Z", **content}
        for minute, content in zip((1, 0, 2, 3), contents, strict=True)
    ]

    shown, errors = deployed.do("logs", "dev"), deployed.do("logs", "--errors", "dev")

    assert [line.split("\t") for line in shown.out.splitlines()] == [
        ["2026-03-01 12:00:30", "INFO", "it began"],
        ["2026-03-01 12:01:30", "ERROR", "it failed"],
        ["2026-03-01 12:02:30", "INFO", "registered"],
        ["2026-03-01 12:03:30", "INFO", "https://inventory/"],
    ]
    assert errors.out == "2026-03-01 12:01:30\tERROR\tit failed\n"
