"""What can stand in the way of setup.sh, and of who runs it."""

import copy
import os
import signal
from pathlib import Path

import pytest

from tests.cloud.project import NUMBER, Json
from tests.conftest import EACH
from tests.processes import wait_until
from tests.servers.scripts import Cloud, at_once
from tests.test_deploy_scripts import fails

BUCKET = "gs://ml-models-dev"
WITHOUT_ADDRESS = "serviceAccount:ci@soufianesys.iam.gserviceaccount.com"


def test_a_bucket_name_that_is_taken_is_noticed_before_anything_is_made(cloud: Cloud) -> None:
    """Names of buckets are global. Cloud Storage says of another's bucket that one may not look."""
    cloud.fault("denied", "storage buckets describe")

    fails(cloud, "setup dev", "ml-models-dev", "names of buckets are global", "set BUCKET_PREFIX=")


def test_a_bucket_of_another_project_is_noticed_before_anything_is_made(cloud: Cloud) -> None:
    cloud.state["buckets"] = {BUCKET: {"location": "US", "projectNumber": "987"}}

    fails(cloud, "setup dev", "whose number is 987", "BUCKET_PREFIX", "GCP_PROJECT_ID")


def test_a_name_that_is_taken_is_noticed_before_more_than_apis_is_made(cloud: Cloud) -> None:
    cloud.state["apis"].remove("storage.googleapis.com")
    cloud.fault("denied", "storage buckets describe", after=1)

    ended = cloud.run("setup", "dev")

    assert [change.split(" ")[1:3] for change in ended.changes] == [["services", "enable"]]
    assert "set BUCKET_PREFIX=" in ended.err


def test_without_the_storage_api_the_bucket_is_looked_at_when_it_is_enabled(
    cloud: Cloud, reached: dict[str, list[Json]]
) -> None:
    cloud.state["apis"].remove("storage.googleapis.com")

    cloud.do("setup", "dev")

    assert cloud.state == reached["setup dev"][-1]


def test_a_bucket_that_was_there_is_left_as_it_is(cloud: Cloud) -> None:
    there = {"location": "US", "projectNumber": NUMBER}
    cloud.state["buckets"] = {BUCKET: dict(there)}

    ended = cloud.do("setup", "dev")

    assert cloud.state["buckets"] == {BUCKET: there}
    assert f"costs storage: gcloud storage buckets update {BUCKET} --versioning" in ended.out


@pytest.mark.parametrize("call", ["setup dev", *EACH[1:5]])
def test_nothing_is_made_by_somebody_without_the_permissions(
    cloud: Cloud, reached: dict[str, list[Json]], call: str
) -> None:
    permissions = {
        "setup dev": "resourcemanager.projects.setIamPolicy storage.buckets.create",
        "dev": "run.services.setIamPolicy",
        "reconcile dev": "cloudscheduler.jobs.create",
        EACH[2]: "iam.serviceAccounts.create",
        EACH[4]: "pubsub.topics.create",
    }
    twin = cloud.twin(reached[call][0])
    twin.state["lacking"] = permissions[call].split()

    fails(twin, call, f"for {permissions[call]}, found none: ask an owner of the project")


def test_without_a_way_to_ask_for_permissions_it_goes_on(
    cloud: Cloud, reached: dict[str, list[Json]], tmp_path: Path
) -> None:
    """Google's services then say what is missing."""
    for name in ("gcloud", "bq", "sleep"):
        (tmp_path / name).symlink_to(cloud.path[0] / name)
    cloud.path = [tmp_path, *cloud.path[1:]]

    cloud.do("setup", "dev")

    assert cloud.state == reached["setup dev"][-1]


def test_who_may_only_deploy_deploys_again(deployed: Cloud) -> None:
    lacking = "resourcemanager.projects.setIamPolicy run.services.setIamPolicy"
    deployed.state["lacking"] = lacking.split()

    for call in EACH[1:5]:
        deployed.do(*call.split())


@pytest.mark.parametrize(
    ("acting", "member"),
    [
        (
            {"account": "ci@p.iam.gserviceaccount.com"},
            "serviceAccount:ci@p.iam.gserviceaccount.com",
        ),
        (
            {"account": "principal://iam.googleapis.com/x/subject/y"},
            "principal://iam.googleapis.com/x/subject/y",
        ),
        (
            {"auth/impersonate_service_account": "a@x,b@p.iam.gserviceaccount.com"},
            "serviceAccount:b@p.iam.gserviceaccount.com",
        ),
    ],
    ids=["a service account", "a workload", "impersonation"],
)
def test_the_one_who_acts_may_deploy(cloud: Cloud, acting: Json, member: str) -> None:
    cloud.state.update(acting)
    cloud.state["accounts"]["b@p.iam.gserviceaccount.com"] = {}
    cloud.state["accounts"]["ci@p.iam.gserviceaccount.com"] = {}

    cloud.do("setup", "dev")

    account = "iam service-accounts/model-registry-sa-dev@soufianesys.iam.gserviceaccount.com"
    assert cloud.project.bindings(account) == {(member, "roles/iam.serviceAccountUser")}


def test_a_deployer_who_does_not_exist_is_named_at_once(cloud: Cloud) -> None:
    cloud.environ["DEPLOYER"] = "serviceAccount:nobody@soufianesys.iam.gserviceaccount.com"

    ended = cloud.run("setup", "dev")

    assert (ended.status, ended.sleeps) == (1, [])
    assert "nobody@soufianesys.iam.gserviceaccount.com does not exist" in ended.err.splitlines()[-1]


def test_one_who_has_no_role_to_act_as_the_account_is_told_at_once(ready: Cloud) -> None:
    account = "iam service-accounts/model-registry-sa-dev@soufianesys.iam.gserviceaccount.com"
    del ready.state["policies"][account]
    ready.state["lacking"] = ["iam.serviceAccounts.actAs"]
    ready.fault("may not act", "functions deploy")

    ended = ready.run("dev")

    assert (ended.status, ended.sleeps) == (1, [])
    assert "ask an owner of soufianesys" in ended.err.splitlines()[-1]


@pytest.mark.parametrize("call", [*EACH[:5], *EACH[7:]])
def test_an_answer_that_is_lost_is_looked_up(
    cloud: Cloud, reached: dict[str, list[Json]], call: str
) -> None:
    """At each change: it was carried out, but gcloud says that the service is unavailable."""
    twin = cloud.twin(reached[call][0])
    twin.fault("unavailable", each=1, changes=True, lost=True)

    twin.do(*call.split())

    assert twin.state == reached[call][-1]


def test_two_setups_at_once_make_everything_once(
    cloud: Cloud, reached: dict[str, list[Json]]
) -> None:
    at_once(lambda _: cloud.do("setup", "dev"), [1, 2])

    assert cloud.state == reached["setup dev"][-1]


def test_no_file_is_left_also_by_a_run_that_is_killed(cloud: Cloud, tmp_path: Path) -> None:
    cloud.environ["TMPDIR"] = str(tmp_path)
    cloud.project.sleep = 30
    cloud.fault("unavailable", "projects add-iam-policy-binding", times=1000)
    with cloud.start("setup", "dev", start_new_session=True) as process:
        wait_until(lambda: any(command.tool == "sleep" for command in cloud.project.commands))
        assert [*tmp_path.iterdir()]
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=20)

    assert [*tmp_path.iterdir()] == []


def test_no_file_is_left_also_if_cleaning_up_fails(deployed: Cloud, tmp_path: Path) -> None:
    deployed.environ |= {"TMPDIR": str(tmp_path), "VERIFY_SECONDS": "1"}
    deployed.project.row_after, deployed.project.sleep = -1, 1
    deployed.fault("denied", "storage rm", times=1000)

    ended = deployed.run("verify", "dev")

    assert ended.status == 1
    assert "verify.sh: gcloud storage rm gs://ml-models-dev/" in ended.err
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GCP_PROJECT_ID", "My Project"),
        ("REGION", "us_central1"),
        ("REGISTRY_TABLE", "models"),
        ("BUCKET_PREFIX", "ML-models"),
        ("BUCKET_PREFIX", "b" * 56),  # with -staging more than 63
        ("BUCKET_PREFIX", "goog-models"),
        ("FUNCTION_PREFIX", "model_registry"),  # Cloud Run takes no underscore
        ("FUNCTION_PREFIX", "f" * 46),
        ("SERVICE_ACCOUNT_PREFIX", "s" * 23),
        ("INVENTORY_SERVICE_ACCOUNT", "page"),
        ("RECONCILE_SERVICE_ACCOUNT", "Reconcile"),
        ("BUILD_SERVICE_ACCOUNT", "b" * 31),
        ("DEPLOYER", "ada@example.com"),
        ("LINKS", "run=https://a.example/{value},b"),
    ],
)
def test_a_setting_that_a_service_would_refuse_is_refused_first(
    cloud: Cloud, name: str, value: str
) -> None:
    cloud.environ[name] = value

    ended = fails(cloud, "setup dev", f"{name}: expected", f"found {value}")

    assert ended.commands == []


def test_a_service_account_is_told_which_api_its_own_project_needs(cloud: Cloud) -> None:
    cloud.fault("new API", "projects describe")

    fails(cloud, "setup dev", "gcloud services enable cloudresourcemanager.googleapis.com")


def test_settings_at_their_limits_are_taken(cloud: Cloud) -> None:
    cloud.environ |= {
        "BUCKET_PREFIX": "b" * 55,
        "FUNCTION_PREFIX": "f" * 45,
        "SERVICE_ACCOUNT_PREFIX": "s" * 22,
        "DEPLOYER": WITHOUT_ADDRESS,
    }
    cloud.state["accounts"][WITHOUT_ADDRESS.partition(":")[2]] = {}

    cloud.do("setup", "staging")
    before = copy.deepcopy(cloud.state)

    assert cloud.do("setup", "staging").changes == []
    assert cloud.state == before
