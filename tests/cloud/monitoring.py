"""Cloud Logging and Cloud Monitoring."""

import json
import re

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.kinds import Kind
from tests.cloud.logs import matcher
from tests.cloud.project import LOGGING_AGENT, Failed, Json

NO_METRIC = (
    'NOT_FOUND: Cannot find metric that matches type = "logging.googleapis.com/user/{metric}". If a'
    " metric was created recently, it could take up to 10 minutes to become available."
)
Kind(
    group="logging metrics",
    state="metrics",
    api="logging",
    missing=f"NOT_FOUND: Metric {{name}} does not exist. {WHO}",
    make=lambda call: {"filter": read_filter(call)},
    options="--description= --log-filter=",
).register()


def read_filter(call: Call) -> str:
    """Return the filter, if it can be read."""
    try:
        matcher(call.flag("--log-filter"))
    except ValueError as error:
        raise Failed(f"INVALID_ARGUMENT: Unparseable filter: {error}") from error
    return call.flag("--log-filter")


def make_sink(call: Call) -> Json:
    name, destination = call.arguments
    service, _, topic = destination.partition("/")
    if service != "pubsub.googleapis.com" or topic.rpartition("/")[2] not in call.state["topics"]:
        raise Failed(f"NOT_FOUND: the destination {destination} does not exist.")
    filters = {"filter": read_filter(call)}
    return {"name": name, "destination": destination, "writerIdentity": LOGGING_AGENT, **filters}


SINKS = Kind(
    group="logging sinks",
    state="sinks",
    api="logging",
    missing=f"NOT_FOUND: Sink {{name}} does not exist. {WHO}",
    make=make_sink,
    options="--log-filter=",
).register()


@command("logging sinks update", "--project= --log-filter=", api="logging")
def _(call: Call) -> None:
    SINKS.find(call)["filter"] = read_filter(call)


@command("logging sinks delete", "--project= --quiet", api="logging")
def _(call: Call) -> None:
    SINKS.find(call)
    del call.state["sinks"][call.arguments[0]]


@command("logging read", "--project= --freshness= --limit= --format=", api="logging")
def _(call: Call) -> None:
    errors = "severity>=ERROR" in call.arguments[0]
    lines = [x for x in call.project.lines if x["severity"] == "ERROR" or not errors]
    newest_first = sorted(lines, key=lambda line: str(line["timestamp"]), reverse=True)
    show(call, *newest_first[: int(call.flag("--limit"))])


@command("alpha monitoring policies list", "--project= --filter= --format=", api="monitoring")
def _(call: Call) -> None:
    alerts = call.state["alerts"].values()
    wanted = call.flag("--filter")
    show(call, *(a for a in alerts if wanted in {"", f'displayName="{a["displayName"]}"'}))


def channels(call: Call, flag: str) -> list[str]:
    return list(filter(None, call.flag(flag).split(",")))


def policy(call: Call) -> Json:
    read: Json = json.loads((call.folder / call.flag("--policy-from-file")).read_text())
    return read


def make_alert(call: Call) -> Json:
    made = policy(call)
    wanted = made["conditions"][0].get("conditionThreshold", {}).get("filter", "")
    metric = re.search(r'logging\.googleapis\.com/user/([^"]*)"', wanted)
    if metric and metric[1] not in call.state["metrics"]:
        raise Failed(NO_METRIC.format(metric=metric[1]))
    key = str(1 + max(map(int, call.state["alerts"]), default=7_000))
    names = {"key": key, "name": f"projects/{call.flag('--project')}/alertPolicies/{key}"}
    return made | names | {"notificationChannels": channels(call, "--notification-channels")}


ALERTS = Kind(
    group="alpha monitoring policies",
    state="alerts",
    api="monitoring",
    make=make_alert,
    options="--policy-from-file= --notification-channels=",
).register()


@command("alpha monitoring policies delete", "--project= --quiet", api="monitoring")
def _(call: Call) -> None:
    ALERTS.find(call)
    del call.state["alerts"][call.arguments[0].rpartition("/")[2]]


@command(
    "alpha monitoring policies update",
    "--project= --add-notification-channels= --set-notification-channels= --policy-from-file=",
    api="monitoring",
)
def _(call: Call) -> None:
    alert = ALERTS.find(call)
    if "--policy-from-file" in call.flags:
        alert |= {**policy(call), "notificationChannels": []}
    for flag in ("--set-notification-channels", "--add-notification-channels"):
        alert["notificationChannels"] += channels(call, flag)
