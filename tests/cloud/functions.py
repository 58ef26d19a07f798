"""Cloud Functions, and the triggers that Eventarc makes for them."""

from pathlib import Path

from tests.cloud.call import Call, command
from tests.cloud.project import STORAGE_AGENT, Failed, Json

NO_PUBLISHER = (
    "Creating trigger failed for {trigger}: The Cloud Storage service account for your bucket is"
    " unable to publish to Cloud Pub/Sub topics in the specified project.\nTo use GCS CloudEvent"
    " triggers, the GCS service account requires the Pub/Sub Publisher (roles/pubsub.publisher)"
    " IAM role in the specified project."
)


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
        "options": {key: values for key, values in call.flags.items() if key != "--source"},
        "serviceConfig": {"uri": f"https://{name}-fmwgdkwtaq-uc.a.run.app"},
        "eventTrigger": {} if "--trigger-http" in call.flags else make_trigger(call),
    }
    call.say("Preparing function...done.\nDeploying function...done.")


def make_trigger(call: Call) -> Json:
    """Make or keep the trigger of a function; return what the function says of it."""
    filters = dict(pair.split("=", 1) for pair in call.flags["--trigger-event-filters"])
    name = f"{call.arguments[0]}-312046"
    trigger = f"projects/p/locations/{call.flag('--trigger-location')}/triggers/{name}"
    bucket = call.state["buckets"].get(f"gs://{filters['bucket']}")
    if bucket is None:
        raise Failed(f'OperationError: code=9, message=Bucket "{filters["bucket"]}" does not exist')
    if bucket["location"].lower() != call.flag("--trigger-location"):
        raise Failed(
            f"OperationError: code=3, message=Validation failed for trigger {trigger}: The request"
            " was invalid: Bucket location does not match trigger location."
        )
    if STORAGE_AGENT not in call.state["policies"]["projects"].get("roles/pubsub.publisher", []):
        raise Failed(f"OperationError: code=7, message={NO_PUBLISHER.format(trigger=trigger)}")
    subscription = f"eventarc-us-{call.arguments[0]}-sub-842"
    pubsub = {"subscription": f"projects/p/subscriptions/{subscription}"}
    call.state["triggers"][name] = {"transport": {"pubsub": pubsub}}
    call.state["subscriptions"].setdefault(subscription, {})
    retry = "RETRY" if "--retry" in call.flags else "DO_NOT_RETRY"
    return {"trigger": trigger, "retryPolicy": f"RETRY_POLICY_{retry}"}


@command("functions delete", "--gen2 --project= --region= --quiet", api="cloudfunctions")
def _(call: Call) -> None:
    [name] = call.arguments
    found = call.find("functions", "ResponseError: status=[404], message=[{name} was not found]")
    if found["eventTrigger"]:
        del call.state["triggers"][f"{name}-312046"]
        del call.state["subscriptions"][f"eventarc-us-{name}-sub-842"]
    del call.state["functions"][name]
    call.state["policies"].pop(f"run services/{name}", None)
    call.say(f"Deleted [{found['name']}].")
