"""Cloud Logging and Cloud Monitoring."""

import json
import re

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.project import Failed, Json

NO_METRIC = (
    'NOT_FOUND: Cannot find metric that matches type = "logging.googleapis.com/user/{metric}". If a'
    " metric was created recently, it could take up to 10 minutes to become available."
)


@command("logging metrics create", "--project= --description= --log-filter=", api="logging")
def _(call: Call) -> None:
    [name] = call.arguments
    if name in call.state["metrics"]:
        raise Failed(f"ALREADY_EXISTS: Metric {name} already exists.")
    call.state["metrics"][name] = {"filter": call.flag("--log-filter")}
    call.say(f"Created [{name}].")


@command("logging read", "--project= --freshness= --limit= --order= --format=", api="logging")
def _(call: Call) -> None:
    lines = call.project.lines
    if "severity>=ERROR" in call.arguments[0]:
        lines = [line for line in lines if line["severity"] == "ERROR"]
    newest_first = sorted(lines, key=lambda line: str(line["timestamp"]), reverse=True)
    show(call, *newest_first[: int(call.flag("--limit", "1000000"))])


@command("alpha monitoring policies list", "--project= --format=", api="monitoring")
def _(call: Call) -> None:
    show(call, *call.state["alerts"].values())


def policy(call: Call) -> Json:
    """Read the policy that a file holds."""
    read: Json = json.loads((call.folder / call.flag("--policy-from-file")).read_text())
    return read


def channels(call: Call, flag: str) -> list[str]:
    """Read channels that an option gives."""
    return list(filter(None, call.flag(flag).split(",")))


@command(
    "alpha monitoring policies create",
    "--project= --policy-from-file= --notification-channels= --format=",
    api="monitoring",
)
def _(call: Call) -> None:
    made = policy(call)
    metric = re.search(
        r'logging\.googleapis\.com/user/([^"]*)"',
        made["conditions"][0]["conditionThreshold"]["filter"],
    )
    if metric and metric[1] not in call.state["metrics"]:
        raise Failed(NO_METRIC.format(metric=metric[1]))
    number = f"{7_000 + len(call.state['alerts'])}"
    name = f"projects/{call.flag('--project')}/alertPolicies/{number}"
    made |= {"name": name, "notificationChannels": channels(call, "--notification-channels")}
    call.state["alerts"][number] = made
    call.say(f"Created alert policy [{name}].")


@command(
    "alpha monitoring policies update",
    "--project= --add-notification-channels= --set-notification-channels= --policy-from-file=",
    api="monitoring",
)
def _(call: Call) -> None:
    alert = call.find("alerts", f"NOT_FOUND: {{name}} not found. {WHO}")
    if "--policy-from-file" in call.flags:
        alert |= {**policy(call), "notificationChannels": []}
    for flag in ("--set-notification-channels", "--add-notification-channels"):
        alert["notificationChannels"] += channels(call, flag)
