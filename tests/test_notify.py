"""notify.sh; and all our filters of Cloud Logging, on lines that the function prints."""

import copy
import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import playwright
import pytest

from tests import ROOT
from tests.cloud.call import get
from tests.cloud.logs import entry, matcher
from tests.cloud.project import LOGGING_AGENT, Json
from tests.conftest import Function, serving
from tests.events import HEADERS, body
from tests.servers import bigquery as server
from tests.servers.scripts import Cloud
from tests.test_deploy_scripts import fails

README = (ROOT / "deploy/README.md").read_text()
NOTIFY = "model-registry-dev-notify"
PUBLISHER = {(LOGGING_AGENT, "roles/pubsub.publisher")}


def add(cloud: Cloud, environment: str) -> None:
    """Deploy the function of one more environment."""
    functions = cloud.state["functions"]
    functions[f"model-registry-{environment}"] = functions["model-registry-dev"]


def test_what_is_logged_goes_to_a_topic_and_the_sink_may_write_there_alone(deployed: Cloud) -> None:
    before = copy.deepcopy(deployed.state)

    deployed.do("notify", "dev")

    sink = deployed.state["sinks"][NOTIFY]
    assert sink["destination"] == f"pubsub.googleapis.com/projects/soufianesys/topics/{NOTIFY}"
    assert deployed.project.bindings(f"pubsub topics/{NOTIFY}") == PUBLISHER
    made = {"sinks", "topics", "policies"}
    assert {key for key in before if before[key] != deployed.state[key]} == made
    assert LOGGING_AGENT not in json.dumps(before["policies"])


def test_a_new_filter_updates_the_sink_and_without_one_it_stays(deployed: Cloud) -> None:
    deployed.do("notify", "dev")
    everything = copy.deepcopy(deployed.state)

    changed = deployed.do("notify", "dev", "--filter", 'jsonPayload.outcome="registered"')

    [change] = changed.changes
    assert change.startswith(f"gcloud logging sinks update {NOTIFY} ")
    assert deployed.state["sinks"][NOTIFY]["filter"].endswith(
        ' AND (jsonPayload.outcome="registered")'
    )
    assert deployed.do("notify", "dev").changes == []
    deployed.do("notify", "dev", "--filter", "")
    assert deployed.state == everything


def test_a_filter_that_cannot_be_read_is_refused_in_googles_words(deployed: Cloud) -> None:
    ended = deployed.run("notify", "dev", "--filter", "jsonPayload.outcome=(")

    assert ended.status == 1
    assert "INVALID_ARGUMENT: Unparseable filter" in ended.err.splitlines()[-1]


def test_another_topic_has_a_sink_of_its_own_for_each_environment(deployed: Cloud) -> None:
    add(deployed, "prod")
    deployed.do("notify", "dev")
    deployed.do("notify", "dev", "prod", "--topic", "model-ci")

    assert {*deployed.state["sinks"]} == {
        NOTIFY,
        "model-registry-dev-model-ci",
        "model-registry-prod-model-ci",
    }
    assert deployed.project.bindings("pubsub topics/model-ci") == PUBLISHER


def test_another_topic_cannot_take_the_sink_of_the_environments_own(deployed: Cloud) -> None:
    deployed.do("notify", "dev")
    before = copy.deepcopy(deployed.state)

    ended = deployed.run("notify", "dev", "--topic", "notify")

    assert ended.status == 2
    assert deployed.state == before


def test_without_an_environment_it_is_all_three(deployed: Cloud) -> None:
    fails(deployed, "notify", "model-registry-staging, found none: run deploy/staging.sh")


def test_stopping_deletes_the_sink_and_the_topic_stays_for_the_next_time(deployed: Cloud) -> None:
    deployed.do("notify", "dev")
    started = copy.deepcopy(deployed.state)

    [change] = deployed.do("notify", "--stop").changes

    assert change.startswith(f"gcloud logging sinks delete {NOTIFY} ")
    assert NOTIFY in deployed.state["topics"]
    again = deployed.do("notify", "--stop", "dev")
    assert (again.changes, again.out) == ([], f"There is no sink {NOTIFY}.\n")
    deployed.do("notify", "dev")
    assert deployed.state == started


def test_the_permissions_to_notify_are_asked_for_first(deployed: Cloud) -> None:
    deployed.state["lacking"] = ["logging.sinks.create"]
    fails(deployed, "notify dev", "for logging.sinks.create, found none: ask an owner")


@pytest.mark.parametrize("email", ["", "p123-456@gcp-sa-logging.iam.gserviceaccount.com"])
def test_the_sinks_account_is_waited_for(deployed: Cloud, email: str) -> None:
    """Older projects have one for each sink."""
    if email:
        deployed.do("notify", "dev")
        deployed.state["sinks"][NOTIFY]["writerIdentity"] = f"serviceAccount:{email}"
        deployed.state["accounts"][email] = {}
    deployed.fault("not visible", "add-iam-policy-binding", times=2)

    ended = deployed.do("notify", "dev")

    assert len(ended.sleeps) == 2
    assert "gcp-sa-logging.iam.gserviceaccount.com is new, and not visible" in ended.err


# --- Filters, on real lines -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """The log entries of the function for a failed event and all of tests/events/."""
    refused = server.error(403, "accessDenied")
    with (
        server.bigquery_server([refused]) as bigquery,
        serving(tmp_path_factory.mktemp("function"), bigquery.url) as function,
    ):
        function.post(HEADERS, json.dumps(body(name="failed/v1/model.pkl")))
        found = logged(function, [])
        for path in sorted((ROOT / "tests/events").glob("*.json")):
            found += logged(function, json.loads(path.read_text())["deliveries"])
    return found


def logged(function: Function, deliveries: Sequence[Json]) -> list[Json]:
    for delivery in deliveries:
        text = delivery["text"] if "text" in delivery else json.dumps(delivery["body"])
        function.post(delivery["headers"], text)
    lines = function.new_lines()
    return [entry(line, f"model-registry-{line['environment'] or 'dev'}") for line in lines]


def chosen(text: str, entries: Sequence[Json]) -> list[Json]:
    match = matcher(text)
    return [entry["jsonPayload"] for entry in entries if match(entry)]


def sent_filter(cloud: Cloud, call: str) -> str:
    """Return the filter that a script sends to Google."""
    [command] = [c for c in cloud.do(*shlex.split(call)).commands if "service_name" in str(c)]
    words = [word for word in command.words if "service_name" in word]
    return words[0].removeprefix("--log-filter=")


def test_a_sink_takes_what_its_own_function_did(deployed: Cloud, entries: list[Json]) -> None:
    text = sent_filter(deployed, "notify dev")

    expected = [
        entry["jsonPayload"]
        for entry in entries
        if entry["jsonPayload"]["outcome"] in {"registered", "removed", "skipped"}
        and entry["jsonPayload"]["environment"] in {"dev", None}
    ]
    assert chosen(text, entries) == expected
    assert {line["outcome"] for line in expected} == {"registered", "removed", "skipped"}


def test_a_sink_takes_removals_and_no_other_lines(deployed: Cloud, entries: list[Json]) -> None:
    """Not Cloud Run's own lines, nor those of the function that are about no event."""
    match = matcher(sent_filter(deployed, "notify dev"))
    [one, *_] = [entry for entry in entries if match(entry)]

    assert match({**one, "jsonPayload": {**one["jsonPayload"], "outcome": "removed"}})
    assert not match({**one, "jsonPayload": {"message": "expected hashed certificates"}})
    assert not match({**one, "jsonPayload": None, "httpRequest": {"status": 200}})


def test_the_metric_counts_what_was_not_registered(ready: Cloud, entries: list[Json]) -> None:
    ready.do("dev")

    lines = chosen(sent_filter(ready, "monitoring dev"), entries)

    assert {line["outcome"] for line in lines} == {"failed", "invalid"}
    assert {line["environment"] for line in lines} == {"dev", None}


@pytest.mark.parametrize(
    ("call", "severities", "environments"),
    [
        ("logs dev", {"INFO", "WARNING", "ERROR"}, {"dev", None}),
        ("logs --errors dev", {"ERROR"}, {"dev", None}),
        ("logs staging prod", {"INFO"}, {"staging", "prod"}),
        ("logs inventory reconcile-dev", set(), set()),
    ],
)
def test_the_logs_are_those_of_the_functions_that_are_named(
    deployed: Cloud, entries: list[Json], call: str, severities: set[str], environments: set[object]
) -> None:
    match = matcher(sent_filter(deployed, call))

    found = [entry for entry in entries if match(entry)]

    assert {entry["severity"] for entry in found} == severities
    assert {entry["jsonPayload"]["environment"] for entry in found} == environments


# --- The README's recipes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "removed"),
    [("staging", set()), ("prod", {"removed-for-good/v2/variables/variables.index"})],
)
def test_a_recipe_takes_the_right_lines(
    deployed: Cloud, entries: list[Json], environment: str, removed: set[str]
) -> None:
    [call] = re.findall(
        rf"^\$ deploy/(notify)\.sh ({environment} .*--filter.*)$", README, re.MULTILINE
    )
    add(deployed, environment)
    text = sent_filter(deployed, " ".join(call))

    lines = chosen(text, entries)

    assert {line["environment"] for line in lines} == {environment}
    assert {line["gcs_path"] for line in lines} == {"promoted/v1/model.pkl", *removed}


def test_the_message_in_the_readme_is_a_real_one(entries: list[Json]) -> None:
    [shown] = map(json.loads, re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    [real] = [entry for entry in entries if entry["jsonPayload"]["environment"] == "staging"]

    real["jsonPayload"]["duration_ms"] = shown["jsonPayload"]["duration_ms"]
    assert json.dumps(real) == json.dumps(shown)
    for field in re.findall(r"\$\(body\.message\.data\.([\w.]+)\)", README):
        assert get(real, field) is not None, field


def test_the_text_for_a_chat_room_is_the_lines_message(entries: list[Json]) -> None:
    """It is the README's JavaScript; Playwright brings a Node.js to run it."""
    [code] = re.findall(r"^    code: \|\n((?:      .*\n)+)", README, re.MULTILINE)
    data = json.dumps({"data": json.dumps(entries[-1]), "attributes": {}})
    node = Path(playwright.__file__).parent / "driver/node"
    script = f"{code}; console.log(JSON.stringify(chat({data}, {{}})))"

    printed: dict[str, Any] = json.loads(subprocess.check_output([node, "-e", script]))

    assert json.loads(printed["data"]) == {"text": entries[-1]["jsonPayload"]["message"]}
    assert printed["attributes"] == {"Content-Type": "application/json"}


# --- The double's reader of filters ---------------------------------------------------------------

LINE = {"severity": "WARNING", "outcome": "skipped", "model_version": 3, "model_name": None}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('jsonPayload.outcome="SKIPPED"', True),  # the case does not matter
        ("jsonPayload.outcome=skipped severity>=WARNING", True),
        ("severity>=ERROR", False),
        ("jsonPayload.model_version=3", True),
        ('jsonPayload.absent!="x"', False),  # nothing can be said of what is not there
        ('jsonPayload.model_name!="x"', False),
        ('NOT jsonPayload.absent="x"', True),
        ('jsonPayload.outcome=("a" OR "skipped")', True),
        ('jsonPayload.outcome=(NOT "skipped")', False),
        ('jsonPayload.outcome!="a" AND NOT (severity=INFO OR severity=ERROR)', True),
        # An OR before an AND: (a OR b) AND c
        ("severity=WARNING OR severity=INFO AND severity=INFO", False),
        ('jsonPayload.outcome=~"^ski"', True),
        ('jsonPayload.outcome=~"SKI"', False),  # here it does
        ('jsonPayload.outcome!~"^reg"', True),
        ('jsonPayload.outcome="a\\"b"', False),
    ],
)
def test_a_filter_is_read_as_google_does(text: str, fits: bool) -> None:  # noqa: FBT001 - the expected answer
    assert matcher(text)(entry(LINE, "f")) is fits


@pytest.mark.parametrize(
    "text",
    ["", "a", "a=", "a=(", 'a="b', "a=b)", "(a=b", "a=b OR", "a AND b", "a=OR", 'A B="c"', "a<b"],
)
def test_a_filter_that_google_would_refuse_or_we_do_not_use_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        matcher(text)
