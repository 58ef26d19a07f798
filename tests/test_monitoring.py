"""deploy/monitoring.sh: which alerts there are, and when deploy/delete.sh removes one."""

import copy
import json

import pytest

from registry import log
from tests import ROOT
from tests.conftest import CHANNEL
from tests.servers.scripts import Cloud
from tests.test_deploy_scripts import fails


def test_monitoring_adds_a_channel_and_keeps_the_others(deployed: Cloud) -> None:
    """Also one whose name begins alike."""
    deployed.do("monitoring", "dev")
    deployed.do("monitoring", "dev", "--notify", f"{CHANNEL}0")

    channels = [alert["notificationChannels"] for alert in deployed.state["alerts"].values()]
    assert channels == [[CHANNEL, f"{CHANNEL}0"]] * 4


def test_monitoring_follows_a_function_that_was_deployed_again(deployed: Cloud) -> None:
    """Its trigger has another subscription."""
    alerts = copy.deepcopy(deployed.state["alerts"])
    text = json.dumps(deployed.state).replace(
        "eventarc-us-central1-model-registry-dev-312046-sub-842", "eventarc-new"
    )
    deployed.project.state = {**json.loads(text), "alerts": alerts}
    deployed.state["subscriptions"]["eventarc-new"] = {}

    deployed.do("monitoring", "dev")

    assert "eventarc-new" in json.dumps(deployed.state["alerts"])
    assert "deadLetterPolicy" in deployed.state["subscriptions"]["eventarc-new"]
    assert [alert["notificationChannels"] for alert in deployed.state["alerts"].values()] == [
        [CHANNEL]
    ] * 4


def test_monitoring_of_a_function_whose_name_is_the_end_of_another_is_its_own(
    deployed: Cloud,
) -> None:
    deployed.environ["FUNCTION_PREFIX"] = "registry"
    deployed.do("dev")
    deployed.do("monitoring", "dev")

    assert len(deployed.state["alerts"]) == 6


def test_monitoring_needs_the_function(ready: Cloud) -> None:
    ended = ready.run("monitoring", "dev")

    assert ended.status == 1
    assert "expected the function model-registry-dev, found none: run deploy/dev.sh" in ended.err


def test_monitoring_looks_at_all_functions_before_it_makes_anything(deployed: Cloud) -> None:
    deployed.project.state["metrics"] = {}
    fails(deployed, "monitoring dev prod", "model-registry-prod, found none: run deploy/prod.sh")


# --- The reconciliation ---------------------------------------------------------------------------

RECONCILE = "model-registry-reconcile-dev"
LATER = f"{RECONCILE}: it did not run"


def titles(cloud: Cloud) -> list[str]:
    return sorted(alert["displayName"] for alert in cloud.state["alerts"].values())


def query(cloud: Cloud) -> str:
    """Return the condition of the alert on a reconciliation that did not run."""
    [alert] = [a for a in cloud.state["alerts"].values() if a["displayName"] == LATER]
    found: str = alert["conditions"][0]["conditionPrometheusQueryLanguage"]["query"]
    return found


def test_a_reconciliation_is_watched_if_it_is_deployed(deployed: Cloud) -> None:
    assert titles(deployed) == [
        "model-registry-dev: events failed or invalid",
        "model-registry-dev: undelivered events grow old",
        f"{RECONCILE}: events were lost",
        LATER,
    ]
    assert query(deployed) == (
        'absent_over_time(run_googleapis_com:request_count{monitored_resource="cloud_run_revision",'
        f' service_name="{RECONCILE}", response_code_class="2xx"}}[26h])'
    )


@pytest.fixture
def watched(ready: Cloud) -> Cloud:
    """A project in which prod is deployed and watched."""
    for script in ("setup prod", "prod", "reconcile prod", "monitoring prod"):
        ready.do(*script.split())
    return ready


def test_only_in_prod_an_alert_says_what_is_not_what_staging_has(watched: Cloud) -> None:
    assert "model-registry-reconcile-prod: prod is not what staging has" in titles(watched)
    assert len(titles(watched)) == 5


def test_a_reconciliation_that_is_not_deployed_is_one_line(ready: Cloud) -> None:
    ready.do("dev")
    ended = ready.do("monitoring", "dev")

    assert len(titles(ready)) == 2
    [line] = [line for line in ended.out.splitlines() if "reconciliation" in line]
    assert line == (
        "# no alerts for the reconciliation of dev: deploy/reconcile.sh dev has not deployed it"
    )


@pytest.mark.parametrize(
    ("schedule", "window"),
    [
        ("0 3 * * *", "26h"),
        ("*/20 1-5 * * *", "26h"),
        ("0 4 * * 1", "170h"),
        ("0 4 * * mon-fri", "170h"),
        ("0 4 1 * 1", "170h"),
        ("0 4 1 * *", "746h"),
        ("0 4 28,31 * *", "746h"),
    ],
)
def test_how_long_it_may_be_silent_follows_the_schedule(
    deployed: Cloud, schedule: str, window: str
) -> None:
    deployed.state["jobs"][RECONCILE]["schedule"] = schedule

    changes = deployed.do("monitoring", "dev").changes

    assert len(changes) == (window != "26h")
    assert query(deployed).endswith(f"[{window}])")
    assert [alert["notificationChannels"] for alert in deployed.state["alerts"].values()] == [
        [CHANNEL]
    ] * 4


@pytest.mark.parametrize("schedule", ["0 3 1 1,7 *", "0 3 31 * *", "0 3 29-31 * *"])
def test_less_than_once_a_month_is_too_long_for_an_alert(deployed: Cloud, schedule: str) -> None:
    """Not every month has a 29th."""
    deployed.state["jobs"][RECONCILE]["schedule"] = schedule

    ended = deployed.do("monitoring", "dev")

    assert LATER not in titles(deployed)
    assert f'no alert when {RECONCILE} does not run: "{schedule}" may be less' in ended.out
    assert deployed.do("monitoring", "dev").changes == []


def test_without_its_job_a_reconciliation_is_late_after_a_night(deployed: Cloud) -> None:
    before = copy.deepcopy(deployed.state["alerts"])
    deployed.state["jobs"].clear()

    assert deployed.do("monitoring", "dev").changes == []
    assert deployed.state["alerts"] == before


def test_a_deleted_reconciliation_leaves_no_alert_that_never_ends(deployed: Cloud) -> None:
    """The others are silent without it."""
    before = titles(deployed)

    deployed.do("delete", "reconcile-dev", "--yes")

    assert titles(deployed) == [title for title in before if title != LATER]
    fails(deployed, "delete reconcile-dev --yes", f"expected the function {RECONCILE}")


def test_the_alert_of_a_reconciliation_that_was_deleted_by_hand_can_be_deleted(
    deployed: Cloud,
) -> None:
    del deployed.state["functions"][RECONCILE], deployed.state["jobs"][RECONCILE]

    [change] = deployed.do("delete", "reconcile-dev", "--yes").changes

    assert change.startswith("gcloud alpha monitoring policies delete projects/soufianesys/")


@pytest.mark.parametrize("alerts", [True, False])
def test_a_reconciliation_without_alerts_is_deleted_as_well(
    deployed: Cloud, *, alerts: bool
) -> None:
    """Also where the API of Cloud Monitoring is not enabled."""
    deployed.state["alerts"].clear()
    if not alerts:
        deployed.state["apis"].remove("monitoring.googleapis.com")

    deployed.do("delete", "reconcile-dev", "--yes")

    assert RECONCILE not in deployed.state["functions"]


def test_the_metrics_count_the_lines_that_are_logged(watched: Cloud) -> None:
    lines = [
        log.reconciled({}, [], lost=1, lost_examples=["m/v1/f"]),
        log.unlike_staging({"skipped": 1}, {"skipped": ["m/v1"]}),
    ]

    filters = [
        metric["filter"] for name, metric in watched.state["metrics"].items() if "reconcile" in name
    ]
    for line, counted in zip(lines, filters, strict=True):
        assert f'jsonPayload.outcome="{json.loads(line)["outcome"]}"' in counted
        assert 'resource.labels.service_name="model-registry-reconcile-prod"' in counted


def test_each_alert_says_what_to_run_and_leaves_no_placeholder(watched: Cloud) -> None:

    assert {path.stem for path in (ROOT / "deploy/monitoring").glob("*.json")} == {
        *("failures", "lost", "missed", "undelivered", "unlike-staging")
    }
    for alert in watched.state["alerts"].values():
        assert "${" not in json.dumps(alert)
        assert "`deploy/logs.sh " in alert["documentation"]["content"]
