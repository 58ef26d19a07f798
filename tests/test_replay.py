"""replay.sh, up to the row of a dead letter."""

import base64
import copy
import json
from datetime import datetime
from pathlib import Path

import pytest
import requests
from cloudevents.http import CloudEvent

from registry.event import StorageObject, unwrap
from tests import ROOT
from tests.cloud.project import Json
from tests.conftest import serving
from tests.servers import bigquery as server
from tests.servers.scripts import Cloud
from tests.test_deploy_scripts import fails

KEPT = "model-registry-dev-dead-letter"
PUSHED = json.loads((ROOT / "tests/events/pubsub_message_pushed.json").read_text())
MESSAGE = PUSHED["deliveries"][0]["body"]["message"]


@pytest.fixture
def kept(deployed: Cloud) -> Cloud:
    """A project with a dead letter."""
    deployed.project.messages = [{"message": MESSAGE, "ackId": "RFAGFixdRkhRNxkIaFEOT14"}]
    return deployed


def push_config(cloud: Cloud) -> Json | None:
    config: Json | None = cloud.state["subscriptions"][KEPT].get("pushConfig")
    return config


def test_a_dead_letter_that_is_sent_again_is_a_row(kept: Cloud, tmp_path: Path) -> None:
    ended = kept.do("replay", "dev")

    assert "\n2026-03-01 12:00:00\tdead-letter/v1/model.pkl\n" in ended.out
    url = kept.state["functions"]["model-registry-dev"]["serviceConfig"]["uri"]
    account = "model-registry-sa-dev@soufianesys.iam.gserviceaccount.com"
    token = {"serviceAccountEmail": account, "audience": url}
    assert push_config(kept) == {"pushEndpoint": url, "oidcToken": token}
    # Pub/Sub then sends each message like this, and takes 2xx for an acknowledgement.
    body = {"message": MESSAGE, "subscription": f"projects/soufianesys/subscriptions/{KEPT}"}
    with server.bigquery_server() as bigquery, serving(tmp_path, bigquery.url) as function:
        assert requests.post(function.url, json=body, timeout=60).ok
        [line] = function.new_lines()
    [row] = bigquery.rows.values()
    assert ("dead-letter", "dead-letter/v1/model.pkl") == (row["model_name"], row["gcs_path"])
    assert (line["outcome"], line["gcs_path"]) == ("registered", row["gcs_path"])
    assert line["event_id"] == MESSAGE["messageId"]


@pytest.mark.parametrize(
    ("kind", "recorded_by"), [("OBJECT_DELETE", "deleted"), ("OBJECT_ARCHIVE", "archived")]
)
@pytest.mark.parametrize("time_deleted", [{"timeDeleted": "2026-03-01T12:00:00.123Z"}, {}])
def test_a_removal_that_became_a_dead_letter_is_recorded_at_its_own_time(
    kind: str, recorded_by: str, time_deleted: Json
) -> None:
    """Its publishTime is when it became one; it arrives later still."""
    attributes = {**MESSAGE["attributes"], "eventType": kind}
    data = {**json.loads(base64.b64decode(MESSAGE["data"])), **time_deleted}
    message = {
        **MESSAGE,
        "attributes": attributes,
        "data": base64.b64encode(json.dumps(data).encode()).decode(),
        "publishTime": "2026-03-02T04:00:00Z",
    }
    outer = {"type": "google.cloud.pubsub.topic.v1.messagePublished", "source": "//pubsub"}

    event = unwrap(CloudEvent({**outer, "time": message["publishTime"]}, {"message": message}))

    removed = StorageObject.from_event(event)
    assert event["type"].endswith(f".{recorded_by}")
    assert (removed.name, removed.generation) == ("dead-letter/v1/model.pkl", 1772366400170046)
    assert removed.time_deleted == datetime.fromisoformat(attributes["eventTime"])


def test_dead_letters_can_be_looked_at_also_while_they_are_sent(kept: Cloud) -> None:
    before = copy.deepcopy(kept.state["subscriptions"])

    for _ in range(2):
        ended = kept.do("replay", "dev", "--look")
        assert "dead-letter/v1/model.pkl" in ended.out
        assert (ended.changes, kept.state["subscriptions"]) == ([], before)
    kept.do("replay", "dev")
    ended = kept.do("replay", "--look", "dev")

    assert "dead-letter/v1/model.pkl" in ended.out
    assert push_config(kept) is None


def test_a_name_cannot_write_to_the_terminal(kept: Cloud) -> None:
    attributes = {**MESSAGE["attributes"], "objectId": "\x1b[2Jé\x7f/v1/x"}
    kept.project.messages[0]["message"] = {**MESSAGE, "attributes": attributes}

    shown = kept.do("replay", "--look", "dev").out

    assert "\t[2Jé/v1/x\n" in shown


def test_it_says_if_there_are_none(deployed: Cloud) -> None:
    shown = deployed.do("replay", "--look", "dev").out

    assert shown == "The first dead letters of model-registry-dev, at most 10:\nnone\n"


def test_a_second_run_says_that_they_are_being_sent(kept: Cloud) -> None:
    kept.do("replay", "dev")
    kept.state["lacking"] = ["pubsub.subscriptions.update"]  # it changes nothing

    ended = kept.do("replay", "dev")

    assert "are being sent. To see what is left: deploy/replay.sh --look dev\n" in ended.out


@pytest.mark.parametrize("changed", ["uri", "account"])
def test_what_is_sent_elsewhere_is_sent_to_the_function(kept: Cloud, changed: str) -> None:
    kept.do("replay", "dev")
    wanted = copy.deepcopy(kept.state)
    config = kept.state["subscriptions"][KEPT]["pushConfig"]
    if changed == "uri":
        config["pushEndpoint"] = "https://older.a.run.app"
    else:
        config["oidcToken"]["serviceAccountEmail"] = "another@soufianesys.iam.gserviceaccount.com"

    ended = kept.do("replay", "dev")

    assert "dead-letter/v1/model.pkl" in ended.out
    assert kept.state == wanted


def test_nothing_is_sent_unless_all_that_is_named_is_there(kept: Cloud) -> None:
    fails(kept, "replay dev prod", "model-registry-prod, found none: run deploy/prod.sh")
    functions = kept.state["functions"]
    functions["model-registry-prod"] = functions["model-registry-dev"]
    fails(kept, "replay dev prod", "-prod-dead-letter, found none: run deploy/monitoring.sh prod")


@pytest.mark.parametrize("call", ["replay dev", "replay --look dev"])
def test_the_permissions_to_replay_are_asked_for_first(kept: Cloud, call: str) -> None:
    kept.state["lacking"] = ["pubsub.subscriptions.consume"]
    fails(kept, call, "for pubsub.subscriptions.consume, found none: ask an owner")


def test_stopped_in_between_the_dead_letters_are_kept(kept: Cloud) -> None:
    """What an earlier run sent to a function that is gone: stopped at the second of two changes."""
    kept.do("replay", "dev")
    kept.state["subscriptions"][KEPT]["pushConfig"]["pushEndpoint"] = "https://older.a.run.app"
    kept.fault("denied", "subscriptions update")

    ended = kept.run("replay", "dev")

    assert (ended.status, push_config(kept)) == (1, None)
    assert "PERMISSION_DENIED" in ended.err
    kept.do("replay", "dev")
    assert push_config(kept) is not None
