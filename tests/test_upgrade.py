"""What upgrade.sh does with a project in which an older version is deployed."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cloud.project import Json, copied
from tests.processes import wait_until
from tests.servers.scripts import Cloud, Ended, at_once
from tests.test_deploy_scripts import fails

DEV, PAGE, RECONCILE = (f"model-registry-{name}" for name in ("dev", "inventory", "reconcile-dev"))
BUILDER = "model-registry-build@soufianesys.iam.gserviceaccount.com"
# Each script that runs, in this order, and a change that it makes in an older project.
STEPS = {
    "setup.sh dev": "ALTER TABLE",
    "dev.sh": f"functions deploy {DEV} ",
    "verify.sh dev": "storage cp",
    "inventory.sh": f"functions deploy {PAGE} ",
    "reconcile.sh dev": f"functions deploy {RECONCILE} ",
    "monitoring.sh dev": "monitoring policies update",
}


def steps(ended: Ended) -> list[str]:
    """Return the scripts that it says it runs, or would run."""
    lines = ended.out.replace("/verify.sh' ", "/verify.sh ")
    return re.findall(
        r"^(?:# |'.*/)deploy/(\w+\.sh(?: (?:dev|staging|prod))*)$", lines, re.MULTILINE
    )


def listed(ended: Ended, word: str) -> list[str]:
    """Return the scripts that an unfinished run says are done, or left."""
    [line] = re.findall(f"^{word}: (.*)$", ended.err, re.MULTILINE)
    return [] if line == "nothing" else line.removeprefix("deploy/").split(", deploy/")


@pytest.fixture
def fresh(deployed: Cloud) -> Json:
    """What this version deploys, with a schedule of its own."""
    job = deployed.state["jobs"][RECONCILE]
    job |= {"schedule": "0 4 * * *", "timeZone": "Europe/Berlin"}
    return copied(deployed.state)


@pytest.fixture
def older(deployed: Cloud, fresh: Json) -> Cloud:
    """The same from an older version: a table of nine columns, fewer views, accounts and roles."""
    state = deployed.state
    state["tables"]["ml_registry.models"].pop()  # the statement that adds the other four
    state["tables"]["ml_registry.latest_models"] = ["an older definition"]
    for name in ("removals", "promotions"):
        del state["tables"][f"ml_registry.{name}"]
    del state["accounts"][BUILDER], state["policies"][f"iam service-accounts/{BUILDER}"]
    del state["policies"]["bigquery/ml_registry.removals"]
    del state["policies"]["projects/soufianesys"]["roles/run.builder"]
    for function in state["functions"].values():
        function["options"] = {"--memory": ["128MB"]}
    state["jobs"][RECONCILE]["httpTarget"]["uri"] = "https://older.a.run.app/"
    # Its triggers were made again, so their subscriptions are others.
    of_triggers = [name for name in state["subscriptions"] if name.endswith("-sub-842")]
    for name in of_triggers:
        state["subscriptions"][name].pop("deadLetterPolicy", None)
    state["alerts"] = json.loads(json.dumps(state["alerts"]).replace("-sub-842", "-sub-841"))
    assert state != fresh
    return deployed


def test_an_older_project_ends_as_a_new_one_and_keeps_what_was_chosen(
    older: Cloud, fresh: Json
) -> None:
    """Schedule, viewers and channels; and no other environment is made. So does a second run."""
    ended = older.do("upgrade")

    assert steps(ended) == [*STEPS]
    assert ended.out.endswith("# All of it is upgraded.\n")
    assert older.state == fresh

    again = older.twin(older.state)
    assert steps(again.do("upgrade")) == [*STEPS]
    assert again.state == fresh


def test_a_run_that_stops_says_what_is_done_and_left_and_the_next_one_completes_it(
    older: Cloud, fresh: Json
) -> None:
    """At a change of each script."""

    def stop(at: int) -> None:
        twin = older.twin(older.state)
        twin.fault("denied", [*STEPS.values()][at], changes=True)
        ended = twin.run("upgrade")
        assert (ended.status, steps(ended)) == (1, [*STEPS][: at + 1]), ended.err
        assert f"\nupgrade.sh: deploy/{[*STEPS][at]} did not succeed\n" in ended.err
        assert (listed(ended, "Done"), listed(ended, "Left")) == ([*STEPS][:at], [*STEPS][at:])
        twin.project.row_after = 1
        twin.do("upgrade")
        assert twin.state == fresh

    at_once(stop, range(len(STEPS)))


def test_a_run_that_is_ended_says_what_is_left_and_the_next_one_completes_it(
    older: Cloud, fresh: Json
) -> None:
    project = older.project
    project.row_after, project.sleep = -1, 30
    with older.start("upgrade", start_new_session=True) as process:
        wait_until(lambda: any(command.tool == "sleep" for command in project.commands))
        os.killpg(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=20)

    assert process.returncode != 0
    assert "Left: deploy/verify.sh dev, deploy/inventory.sh, " in err
    project.row_after, project.sleep = 1, 0
    older.do("upgrade")
    assert older.state == fresh


def test_a_version_that_does_not_work_in_dev_never_reaches_prod(deployed: Cloud) -> None:
    deployed.do("setup", "prod")
    deployed.do("prod")
    before = copied(deployed.state["functions"]["model-registry-prod"])
    before["options"] = deployed.state["functions"]["model-registry-prod"]["options"] = {}
    deployed.project.row_after, deployed.environ["VERIFY_SECONDS"] = -1, "0"

    ended = deployed.run("upgrade")

    assert (ended.status, steps(ended)) == (1, ["setup.sh dev prod", "dev.sh", "verify.sh dev"])
    assert "the trigger is the broken link: no event came" in ended.err
    assert listed(ended, "Left")[:3] == ["verify.sh dev", "prod.sh", "verify.sh prod"]
    assert deployed.state["functions"]["model-registry-prod"] == before


# --- What is there --------------------------------------------------------------------------------


def only(cloud: Cloud, *kept: str) -> Cloud:
    """Delete the functions that are not to be kept."""
    for name in {DEV, PAGE, RECONCILE} - {*kept}:
        del cloud.state["functions"][name]
    return cloud


def test_nothing_is_upgraded_where_nothing_is_deployed(cloud: Cloud, ready: Cloud) -> None:
    for project in (cloud, ready):  # without the API, and with it
        for call in ("upgrade", "upgrade --dry-run"):
            fails(project, call, "found nothing: run deploy/setup.sh, then deploy/dev.sh")


def test_a_page_without_an_environment_is_left_alone(deployed: Cloud) -> None:
    fails(only(deployed, PAGE), "upgrade", "run deploy/setup.sh with one, then deploy/inventory.sh")


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ([DEV], ["setup.sh dev", "dev.sh", "verify.sh dev", "monitoring.sh dev"]),
        ([RECONCILE], ["setup.sh dev", "reconcile.sh dev"]),
        ([RECONCILE, PAGE], ["setup.sh dev", "inventory.sh", "reconcile.sh dev"]),
    ],
)
def test_what_is_not_deployed_is_not_upgraded(
    deployed: Cloud, kept: list[str], expected: list[str]
) -> None:
    assert steps(only(deployed, *kept).do("upgrade")) == expected
    assert {*deployed.state["functions"]} == {*kept}


def test_what_is_not_watched_is_not_watched_afterwards(deployed: Cloud) -> None:
    del deployed.state["topics"][f"{DEV}-dead-letter"]

    assert "monitoring.sh dev" not in steps(deployed.do("upgrade", "--dry-run"))


@pytest.mark.parametrize("missing", ["job", "API"])
def test_a_reconciliation_without_its_job_is_left_alone(deployed: Cloud, missing: str) -> None:
    if missing == "job":
        deployed.state["jobs"] = {}
    else:
        deployed.state["apis"].remove("cloudscheduler.googleapis.com")

    ended = deployed.do("upgrade", "--dry-run")

    assert "reconcile.sh dev" not in steps(ended)
    assert f"# {RECONCILE} has no job, and is left as it is: run deploy/reconcile.sh" in ended.out


@pytest.mark.parametrize("look", ["functions", "scheduler jobs", "pubsub topics"])
def test_a_look_that_is_denied_ends_it_before_anything_is_changed(
    deployed: Cloud, look: str
) -> None:
    deployed.fault("denied", f"{look} describe")

    ended = deployed.run("upgrade")

    assert (ended.status, ended.changes) == (1, [])
    assert "PERMISSION_DENIED" in ended.err


# --- --dry-run ------------------------------------------------------------------------------------


def test_a_dry_run_pasted_does_what_the_upgrade_does(
    older: Cloud, fresh: Json, tmp_path: Path
) -> None:
    before = copied(older.state)

    ended = older.do("upgrade", "--dry-run")

    assert (ended.err, ended.changes, older.state) == ("", [], before)
    assert steps(ended) == [*STEPS]
    assert f"# {DEV} was deployed at 2026-03-01 12:00:00 UTC\n" in ended.out
    bash = [str(older.path[1] / "bash"), "-euo", "pipefail"]
    environ = {**older.env(), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    subprocess.run(bash, input=ended.out, env=environ, cwd=tmp_path, check=True, text=True)
    assert older.project.unknown == []
    assert older.state == fresh


def test_a_dry_run_where_all_is_new_only_deploys_again(deployed: Cloud) -> None:
    out = deployed.do("upgrade", "--dry-run").out

    assert re.findall(r"^(?:bq|gcloud|sed) .*? (query|deploy|\S+$)", out, re.MULTILINE) == [
        "query",
        *["deploy"] * 3,
    ]
    assert out.endswith("\n# deploy/monitoring.sh dev\n# changes nothing\n")


def test_a_dry_run_names_the_place_of_a_bucket_that_is_elsewhere(deployed: Cloud) -> None:
    deployed.state["buckets"]["gs://ml-models-dev"]["location"] = "EU"

    assert " --trigger-location=eu " in deployed.do("upgrade", "--dry-run").out


def test_a_dry_run_says_what_stands_in_the_way(deployed: Cloud) -> None:
    deployed.state["lacking"] = ["storage.buckets.create"]

    fails(deployed, "upgrade --dry-run", "setup.sh: expected permission", "ask an owner")
