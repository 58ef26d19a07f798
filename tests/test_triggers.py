"""The triggers of an environment: which there are, and what they bring to the function."""

import copy
import json
import re
from pathlib import Path

import pytest

from tests.cloud.functions import deliveries
from tests.cloud.project import PUBSUB_AGENT, Json
from tests.conftest import serving
from tests.events import HEADERS, body
from tests.servers import bigquery as server
from tests.servers.scripts import Cloud
from tests.test_deploy_scripts import fails

FUNCTION, BUCKET = "model-registry-dev", "ml-models-dev"
PLACE = "projects/soufianesys/locations/us-central1/triggers"
RECORDED = ["recorded_at", "recorded_by"]
EVENTS = ["finalized", "deleted", "archived"]
REMOVED = {"deleted": f"{PLACE}/{FUNCTION}-deleted", "archived": f"{PLACE}/{FUNCTION}-archived"}
SUBSCRIPTIONS = [
    f"eventarc-us-central1-{FUNCTION}-{name}-sub-842" for name in ("312046", "deleted", "archived")
]


def filters(trigger: Json) -> dict[str, str]:
    return {one["attribute"]: one["value"] for one in trigger["eventFilters"]}


def test_an_environment_has_three_triggers_and_each_delivers(ready: Cloud, tmp_path: Path) -> None:
    ready.do("dev")

    triggers = ready.state["triggers"].values()
    assert len(triggers) == 3
    for event in EVENTS:
        assert deliveries(ready.state, event, BUCKET) == [FUNCTION]
    # What they bring, to the real function.
    with server.bigquery_server() as bigquery, serving(tmp_path, bigquery.url) as function:
        bigquery.streamed = bigquery.columns = [*bigquery.columns, "removed_at", *RECORDED]
        for trigger in triggers:
            found = filters(trigger)
            headers = {**HEADERS, "ce-type": found["type"]}
            gone = {} if "finalized" in found["type"] else {"timeDeleted": "2026-03-01T12:00:00Z"}
            assert function.post(headers, json.dumps(body(bucket=found["bucket"], **gone))).ok
        outcomes = [line["outcome"] for line in function.new_lines()]
    assert outcomes == ["registered", "removed", "removed"]
    tables = [re.findall(r"/tables/(\w+)/", request.path) for request in bigquery.requests]
    assert tables == [["models"], ["removals"], ["removals"]]


def test_the_names_of_triggers_stay_within_eventarcs_limit(cloud: Cloud) -> None:
    """63 characters, with the longest prefix; the double refuses more."""
    cloud.environ["FUNCTION_PREFIX"] = "f" * 45
    cloud.do("setup", "staging")

    cloud.do("staging")

    assert len(cloud.state["triggers"]) == 3


@pytest.mark.parametrize(
    "different", ["account", "service", "region", "bucket", "type", "attempts", "location"]
)
def test_a_trigger_of_earlier_settings_is_made_anew(ready: Cloud, different: str) -> None:
    ready.do("dev")
    wanted = copy.deepcopy(ready.state)
    for name in REMOVED.values():
        change(ready.state["triggers"], name, different)

    ended = ready.do("dev")

    assert [change.split()[3] for change in ended.changes] == ["delete", "create"] * 2
    assert ready.state == wanted


def change(triggers: Json, name: str, what: str) -> None:
    """Give a trigger what it could have of other settings, or by hand."""
    trigger = triggers.pop(name)
    match what:
        case "account":
            trigger["serviceAccount"] = "older@soufianesys.iam.gserviceaccount.com"
        case "service" | "region":
            trigger["destination"]["cloudRun"][what] = "older"
        case "bucket" | "type":
            [changed] = [f for f in trigger["eventFilters"] if f["attribute"] == what]
            changed["value"] = "older"
        case "attempts":
            trigger["retryPolicy"] = {"maxAttempts": 1}
        case "location":
            trigger["name"] = name.replace("us-central1", "eu")
    triggers[trigger["name"]] = trigger


def test_a_trigger_that_was_deleted_by_hand_is_made_again(ready: Cloud) -> None:
    ready.do("dev")
    wanted = copy.deepcopy(ready.state)
    del ready.state["triggers"][REMOVED["archived"]]

    [made] = ready.do("dev").changes

    assert made.startswith(f"gcloud eventarc triggers create {FUNCTION}-archived ")
    assert ready.state == wanted


def test_to_find_the_triggers_right_looking_is_enough(deployed: Cloud) -> None:
    deployed.state["lacking"] = ["eventarc.triggers.create", "eventarc.triggers.delete"]

    deployed.do("dev")
    trigger = deployed.state["triggers"].pop(REMOVED["deleted"])
    fails(deployed, "dev", "for eventarc.triggers.create, found none: ask an owner")
    trigger["serviceAccount"] = "older"
    deployed.state["triggers"][trigger["name"]] = trigger
    fails(deployed, "dev", "for eventarc.triggers.create eventarc.triggers.delete, found none")


@pytest.mark.parametrize("words", ["eventarc", "not in force"])
def test_a_trigger_is_waited_for(ready: Cloud, words: str) -> None:
    ready.fault(words, "eventarc triggers create", times=2)

    ended = ready.do("dev")

    assert len(ended.sleeps) == 2
    assert len(ready.state["triggers"]) == 3


# --- delete.sh ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["", "function", "one of them"])
def test_the_triggers_are_deleted_before_the_function(ready: Cloud, gone: str) -> None:
    """A function that somebody has deleted leaves them."""
    before = copy.deepcopy(ready.state)
    ready.do("dev")
    words = [f"functions delete {FUNCTION}", *(f"triggers delete {FUNCTION}-{e}" for e in REMOVED)]
    expected = [*words[1:], words[0]]
    if gone == "function":
        ready.state["functions"] = {}
        ready.state["triggers"].pop(f"{PLACE}/{FUNCTION}-312046")
        ready.state["subscriptions"].pop(SUBSCRIPTIONS[0])
        ready.state["policies"].pop(f"run services/{FUNCTION}")
        expected = words[1:]
    elif gone:
        ready.state["triggers"].pop(REMOVED["deleted"])
        ready.state["subscriptions"].pop(SUBSCRIPTIONS[1])
        expected = [words[2], words[0]]

    changes = ready.do("delete", "dev", "--yes").changes

    assert [word for word, change in zip(expected, changes, strict=True) if word in change] == (
        expected
    )
    assert ready.state == before


# --- verify.sh ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("absent", "it is not there: run deploy/dev.sh"),
        ("different", "it is not as deploy/dev.sh makes it: run deploy/dev.sh"),
        ("errors", "the function is the broken link: its last errors: .*BigQuery said no"),
        ("silent", "no event came within 1 s"),
    ],
)
@pytest.mark.parametrize("event", REMOVED)
def test_verify_names_the_trigger_that_brings_no_removal(
    deployed: Cloud, event: str, broken: str, words: str
) -> None:
    deployed.environ["VERIFY_SECONDS"], deployed.project.sleep = "1", 1
    trigger = deployed.state["triggers"][REMOVED[event]]
    match broken:
        case "absent":
            del deployed.state["triggers"][REMOVED[event]]
        case "different":
            trigger["serviceAccount"] = "older"
        case _:
            deployed.project.silent = event
    if broken == "errors":
        line = {"timestamp": "2026-03-01T12:00:00Z", "severity": "ERROR"}
        deployed.project.lines = [{**line, "jsonPayload": {"message": "BigQuery said no"}}]

    ended = deployed.run("verify", "dev")

    assert ended.status == 1
    link = "" if broken == "errors" else f"the trigger {FUNCTION}-{event} is the broken link: "
    assert re.search(f"^verify.sh: {link}{words}", ended.err, re.MULTILINE), ended.err
    assert "was registered after" in ended.out
    assert deployed.state["objects"] == []


# --- monitoring.sh --------------------------------------------------------------------------------


def test_dead_letters_of_all_triggers_are_kept_and_one_alert_watches_them(deployed: Cloud) -> None:
    topic = f"projects/soufianesys/topics/{FUNCTION}-dead-letter"
    for name in SUBSCRIPTIONS:
        policy = deployed.state["subscriptions"][name]["deadLetterPolicy"]
        assert (policy["deadLetterTopic"], policy["maxDeliveryAttempts"]) == (topic, 100)
        bound = deployed.project.bindings(f"pubsub subscriptions/{name}")
        assert bound == {(PUBSUB_AGENT, "roles/pubsub.subscriber")}

    [alert] = [a for a in deployed.state["alerts"].values() if "undelivered" in a["displayName"]]
    [condition] = alert["conditions"]
    text = condition["conditionThreshold"]["filter"]
    [pattern] = re.findall(r'subscription_id=monitoring\.regex\.full_match\("([^"]*)"\)$', text)
    assert all(re.fullmatch(pattern, name) for name in SUBSCRIPTIONS)
    assert not re.fullmatch(pattern, f"{FUNCTION}-dead-letter")


@pytest.mark.parametrize("event", REMOVED)
def test_monitoring_needs_all_triggers(deployed: Cloud, event: str) -> None:
    del deployed.state["triggers"][REMOVED[event]]

    name = f"{FUNCTION}-{event}"
    fails(deployed, "monitoring dev", f"expected the trigger {name} of", "run deploy/dev.sh")


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_a_new_trigger_without_dead_letters_is_named(deployed: Cloud, name: str) -> None:
    assert "dead letters are kept" not in deployed.do("dev").out
    del deployed.state["subscriptions"][name]["deadLetterPolicy"]

    said = deployed.do("dev").out

    trigger = name.removeprefix("eventarc-us-central1-").removesuffix("-sub-842")
    assert f"# The trigger {trigger} is new: run deploy/monitoring.sh dev, so that" in said
    deployed.do("monitoring", "dev")
    assert "dead letters are kept" not in deployed.do("dev").out
