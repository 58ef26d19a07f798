"""Cloud Functions, and the triggers that Eventarc makes for them."""

from pathlib import Path

from tests.cloud.call import Call, command
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
Kind(group="eventarc triggers", state="triggers", api="eventarc").register()


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
    filters = dict(pair.split("=", 1) for pair in call.flags["--trigger-event-filters"])
    name = f"{call.arguments[0]}-312046"
    trigger = f"projects/p/locations/{call.flag('--trigger-location')}/triggers/{name}"
    bucket = call.state["buckets"].get(f"gs://{filters['bucket']}")
    if bucket is None:
        raise Failed(f'OperationError: code=9, message=Bucket "{filters["bucket"]}" does not exist')
    if bucket["location"].lower() != call.flag("--trigger-location"):
        raise Failed(
            "OperationError: code=3, message=Bucket location does not match trigger location."
        )
    if STORAGE_AGENT not in call.state["policies"][f"projects/{call.flag('--project')}"].get(
        "roles/pubsub.publisher", []
    ):
        raise Failed(
            "OperationError: code=7, message=The Cloud Storage service account for"
            " your bucket is unable to publish to Cloud Pub/Sub topics in the specified project."
        )
    subscription = f"eventarc-us-{call.arguments[0]}-sub-842"
    pubsub = {"subscription": f"projects/p/subscriptions/{subscription}"}
    call.state["triggers"][name] = {"transport": {"pubsub": pubsub}}
    call.state["subscriptions"].setdefault(subscription, {})
    retry = "RETRY" if "--retry" in call.flags else "DO_NOT_RETRY"
    return {"trigger": trigger, "retryPolicy": f"RETRY_POLICY_{retry}"}


@command("functions delete", "--gen2 --project= --region= --quiet", api="cloudfunctions")
def _(call: Call) -> None:
    [name], found = call.arguments, FUNCTIONS.find(call)
    if found["eventTrigger"]:
        del call.state["triggers"][f"{name}-312046"]
        del call.state["subscriptions"][f"eventarc-us-{name}-sub-842"]
    del call.state["functions"][name]
    call.state["policies"].pop(f"run services/{name}", None)
