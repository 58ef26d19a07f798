"""Cloud Functions, and the Eventarc triggers that bring them events."""

import re
from pathlib import Path

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.kinds import Kind
from tests.cloud.project import STORAGE_AGENT, Failed, Json

FUNCTIONS = Kind(
    group="functions",
    state="functions",
    api="cloudfunctions",
    place="--gen2 --project= --region=",
    missing="ResponseError: status=[404], code=[Ok], message=[Resource '{name}' was not found]",
).register()
Kind(
    group="run services",
    state="functions",
    api="run",
    place="--project= --region=",
    policy=True,
    condition=True,
).register()


PASSING = {"--source", "--no-allow-unauthenticated"}  # what a function does not keep


@command(
    "functions deploy",
    "--gen2 --project= --region= --runtime= --source= --entry-point= --trigger-event-filters="
    " --trigger-location= --trigger-service-account= --retry --service-account="
    " --build-service-account= --set-env-vars= --set-build-env-vars= --max-instances= --memory="
    " --timeout= --no-allow-unauthenticated --ingress-settings= --quiet --concurrency= --cpu="
    " --trigger-http",
    api="cloudfunctions",
)
def _(call: Call) -> None:
    [name] = call.arguments
    source = Path(call.flag("--source"))
    if not (source / "main.py").is_file():
        raise Failed(f"Provided source directory does not have file [main.py]: {source}")
    call.need_api("cloudbuild")
    for flag in ("--service-account", "--trigger-service-account"):
        email = call.flag(flag)
        if flag in call.flags and email not in call.state["accounts"]:
            raise Failed(
                "ResponseError: status=[404], code=[Ok], message=[Service account"
                f" projects/-/serviceAccounts/{email} was not found.]"
            )
    place = f"projects/{call.flag('--project')}/locations/{call.flag('--region')}"
    call.state["functions"][name] = {
        "name": f"{place}/functions/{name}",
        "state": "ACTIVE",
        "updateTime": "2026-03-01T12:00:00.123456789Z",
        "options": {key: call.flags[key] for key in call.flags if key not in PASSING},
        "serviceConfig": {"uri": f"https://{name}-fmwgdkwtaq-uc.a.run.app"},
        "eventTrigger": {} if "--trigger-http" in call.flags else make_trigger(call),
    }
    call.say("Preparing function...done.\nDeploying function...done.")


def make_trigger(call: Call) -> Json:
    function, flag = call.arguments[0], call.flag
    place = f"projects/{flag('--project')}/locations/{flag('--trigger-location')}"
    run = {"service": function, "region": flag("--region")}
    made = {
        "name": f"{place}/triggers/{function}-312046",
        "serviceAccount": flag("--trigger-service-account"),
        "destination": {"cloudRun": run},
    }
    add_trigger(call, made, call.flags["--trigger-event-filters"])
    retry = "RETRY" if "--retry" in call.flags else "DO_NOT_RETRY"
    return {"trigger": made["name"], "retryPolicy": f"RETRY_POLICY_{retry}"}


def add_trigger(call: Call, made: Json, filters: list[str]) -> None:
    """Add a trigger for the events of a bucket, with the subscription that delivers them."""
    _, project, _, location, _, name = made["name"].split("/")
    wanted = dict(pair.split("=", 1) for pair in filters)
    bucket = call.state["buckets"].get(f"gs://{wanted['bucket']}")
    if bucket is None:
        raise Failed(f'OperationError: code=9, message=Bucket "{wanted["bucket"]}" does not exist')
    if bucket["location"].lower() != location:
        raise Failed(
            "OperationError: code=3, message=Bucket location does not match trigger location."
        )
    roles = call.state["policies"][f"projects/{project}"]
    if STORAGE_AGENT not in roles.get("roles/pubsub.publisher", []):
        raise Failed(
            "OperationError: code=7, message=The Cloud Storage service account for"
            " your bucket is unable to publish to Cloud Pub/Sub topics in the specified project."
        )
    subscription = f"eventarc-{location}-{name}-sub-842"
    pubsub = {"subscription": f"projects/{project}/subscriptions/{subscription}"}
    call.state["triggers"][made["name"]] = {
        **made,
        "eventFilters": [{"attribute": a, "value": v} for a, v in sorted(wanted.items())],
        "transport": {"pubsub": pubsub},
    }
    call.state["subscriptions"].setdefault(subscription, {})


def remove_trigger(call: Call, name: str) -> None:
    """Delete a trigger, with its subscription."""
    subscription = call.state["triggers"].pop(name)["transport"]["pubsub"]["subscription"]
    del call.state["subscriptions"][subscription.rpartition("/")[2]]
    call.state["policies"].pop(f"pubsub subscriptions/{subscription.rpartition('/')[2]}", None)


@command("functions delete", "--gen2 --project= --region= --quiet", api="cloudfunctions")
def _(call: Call) -> None:
    """Triggers that the deployment has not made stay."""
    [name], found = call.arguments, FUNCTIONS.find(call)
    trigger = found["eventTrigger"].get("trigger")
    if trigger in call.state["triggers"]:
        remove_trigger(call, trigger)
    del call.state["functions"][name]
    call.state["policies"].pop(f"run services/{name}", None)


# --- Triggers -------------------------------------------------------------------------------------


def trigger_name(call: Call) -> str:
    """Return a trigger's full name."""
    [name] = call.arguments
    if "/" in name:
        return name
    return f"projects/{call.flag('--project')}/locations/{call.flag('--location')}/triggers/{name}"


def find_trigger(call: Call) -> Json:
    name = trigger_name(call)
    if name not in call.state["triggers"]:
        raise Failed(f"NOT_FOUND: Resource '{name}' was not found. {WHO}")
    found: Json = call.state["triggers"][name]
    return found


@command("eventarc triggers describe", "--project= --location= --format=", api="eventarc")
def _(call: Call) -> None:
    show(call, find_trigger(call))


@command("eventarc triggers list", "--project= --location= --format=", api="eventarc")
def _(call: Call) -> None:
    assert call.flag("--location") == "-"
    show(call, *call.state["triggers"].values())


@command("eventarc triggers delete", "--project= --location= --quiet", api="eventarc")
def _(call: Call) -> None:
    find_trigger(call)
    remove_trigger(call, trigger_name(call))


@command(
    "eventarc triggers create",
    "--project= --location= --destination-run-service= --destination-run-region= --event-filters="
    " --service-account=",
    api="eventarc",
)
def _(call: Call) -> None:
    [name], flag = call.arguments, call.flag
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", name):
        raise Failed(f"INVALID_ARGUMENT: The trigger ID {name} is not valid.")
    if trigger_name(call) in call.state["triggers"]:
        raise Failed(f"ALREADY_EXISTS: Resource '{trigger_name(call)}' already exists. {WHO}")
    account, service = flag("--service-account"), flag("--destination-run-service")
    call.need_member(f"serviceAccount:{account}")
    place = f"/locations/{flag('--destination-run-region')}/functions/{service}"
    if not call.state["functions"].get(service, {}).get("name", "").endswith(place):
        raise Failed(f'NOT_FOUND: The Cloud Run service "{service}" was not found.')
    roles = call.state["policies"][f"projects/{flag('--project')}"]
    if f"serviceAccount:{account}" not in roles.get("roles/eventarc.eventReceiver", []):
        words = f'Permission "eventarc.events.receiveEvent" denied on "{account}"'
        raise Failed(f"INVALID_ARGUMENT: The request was invalid: {words}")
    run = {"service": service, "region": flag("--destination-run-region")}
    made = {"name": trigger_name(call), "serviceAccount": account, "destination": {"cloudRun": run}}
    add_trigger(call, made, call.flags["--event-filters"])
    call.say(f"Creating trigger [{name}] in project [p], location [{flag('--location')}]...done.")


def deliveries(state: Json, event: str, bucket: str) -> list[str]:
    """List the functions to which triggers bring an event of a bucket, and may."""
    project = f"projects/{state['project']}"
    functions = []
    for trigger in state["triggers"].values():
        filters = {f["attribute"]: f["value"] for f in trigger["eventFilters"]}
        service = trigger["destination"]["cloudRun"]["service"]
        needed = [
            (project, "roles/eventarc.eventReceiver"),
            (f"run services/{service}", "roles/run.invoker"),
        ]
        member = f"serviceAccount:{trigger['serviceAccount']}"
        may = all(member in state["policies"].get(p, {}).get(role, []) for p, role in needed)
        if filters == {"type": f"google.cloud.storage.object.v1.{event}", "bucket": bucket} and may:
            functions.append(service)
    return functions
