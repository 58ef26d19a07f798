"""Pub/Sub."""

from tests.cloud.call import Call, command, show
from tests.cloud.kinds import Kind
from tests.cloud.project import Failed, Json


def need_topic(call: Call, flag: str) -> str:
    name = call.flag(flag).rpartition("/")[2]
    if name not in call.state["topics"]:
        raise Failed(SUBSCRIPTIONS.missing.format(name=name))
    return f"projects/{call.flag('--project')}/topics/{name}"


def make_subscription(call: Call) -> Json:
    return {
        "topic": need_topic(call, "--topic"),
        "messageRetentionDuration": call.flag("--message-retention-duration"),
        "expirationPolicy": call.flag("--expiration-period"),
    }


Kind(group="pubsub topics", state="topics", api="pubsub", policy=True, make=lambda _: {}).register()
SUBSCRIPTIONS = Kind(
    group="pubsub subscriptions",
    state="subscriptions",
    api="pubsub",
    policy=True,
    make=make_subscription,
    options="--topic= --message-retention-duration= --expiration-period=",
).register()


@command("pubsub subscriptions pull", "--project= --limit= --format=", api="pubsub")
def _(call: Call) -> None:
    if "pushConfig" in SUBSCRIPTIONS.find(call):
        words = "FAILED_PRECONDITION: This method is not supported for this subscription type."
        raise Failed(words)
    show(call, *call.project.messages[: int(call.flag("--limit", "1"))])


@command("pubsub subscriptions modify-push-config", "--project= --push-endpoint=", api="pubsub")
def _(call: Call) -> None:
    assert call.flag("--push-endpoint") == ""  # the scripts only take an endpoint away with it
    SUBSCRIPTIONS.find(call).pop("pushConfig", None)


def push(call: Call) -> None:
    email = call.flag("--push-auth-service-account")
    call.need_member(f"serviceAccount:{email}")
    token = {"serviceAccountEmail": email, "audience": call.flag("--push-auth-token-audience")}
    SUBSCRIPTIONS.find(call).update(
        pushConfig={"pushEndpoint": call.flag("--push-endpoint"), "oidcToken": token},
        ackDeadlineSeconds=int(call.flag("--ack-deadline")),
        retryPolicy=[call.flag("--min-retry-delay"), call.flag("--max-retry-delay")],
    )


@command(
    "pubsub subscriptions update",
    "--project= --dead-letter-topic= --max-delivery-attempts= --push-endpoint= --ack-deadline="
    " --push-auth-service-account= --push-auth-token-audience= --min-retry-delay="
    " --max-retry-delay=",
    api="pubsub",
)
def _(call: Call) -> None:
    if "--push-endpoint" in call.flags:
        push(call)
        return
    attempts = int(call.flag("--max-delivery-attempts", "5"))
    if not 5 <= attempts <= 100:  # Pub/Sub's limits
        raise Failed("INVALID_ARGUMENT: max-delivery-attempts must be between 5 and 100.")
    topic = need_topic(call, "--dead-letter-topic")
    policy = {"deadLetterTopic": topic, "maxDeliveryAttempts": attempts}
    SUBSCRIPTIONS.find(call)["deadLetterPolicy"] = policy
