"""Cloud Logging and Cloud Monitoring."""

import json
import re

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.kinds import Kind
from tests.cloud.project import Failed, Json

NO_METRIC = (
    'NOT_FOUND: Cannot find metric that matches type = "logging.googleapis.com/user/{metric}". If a'
    " metric was created recently, it could take up to 10 minutes to become available."
)
Kind(
    group="logging metrics",
    state="metrics",
    api="logging",
    missing=f"NOT_FOUND: Metric {{name}} does not exist. {WHO}",
    make=lambda call: {"filter": call.flag("--log-filter")},
    options="--description= --log-filter=",
).register()


@command("logging read", "--project= --freshness= --limit= --format=", api="logging")
def _(call: Call) -> None:
    errors = "severity>=ERROR" in call.arguments[0]
    lines = [x for x in call.project.lines if x["severity"] == "ERROR" or not errors]
    newest_first = sorted(lines, key=lambda line: str(line["timestamp"]), reverse=True)
    show(call, *newest_first[: int(call.flag("--limit"))])


@command("alpha monitoring policies list", "--project= --format=", api="monitoring")
def _(call: Call) -> None:
    show(call, *call.state["alerts"].values())


def channels(call: Call, flag: str) -> list[str]:
    return list(filter(None, call.flag(flag).split(",")))


def policy(call: Call) -> Json:
    read: Json = json.loads((call.folder / call.flag("--policy-from-file")).read_text())
    return read


def make_alert(call: Call) -> Json:
    made = policy(call)
    wanted = made["conditions"][0]["conditionThreshold"]["filter"]
    metric = re.search(r'logging\.googleapis\.com/user/([^"]*)"', wanted)
    if metric and metric[1] not in call.state["metrics"]:
        raise Failed(NO_METRIC.format(metric=metric[1]))
    key = f"{7_000 + len(call.state['alerts'])}"
    names = {"key": key, "name": f"projects/{call.flag('--project')}/alertPolicies/{key}"}
    return made | names | {"notificationChannels": channels(call, "--notification-channels")}


ALERTS = Kind(
    group="alpha monitoring policies",
    state="alerts",
    api="monitoring",
    make=make_alert,
    options="--policy-from-file= --notification-channels=",
).register()


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
