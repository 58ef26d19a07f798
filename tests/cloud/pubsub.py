"""Pub/Sub."""

from tests.cloud.call import Call, command
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


@command(
    "pubsub subscriptions update",
    "--project= --dead-letter-topic= --max-delivery-attempts=",
    api="pubsub",
)
def _(call: Call) -> None:
    attempts = int(call.flag("--max-delivery-attempts", "5"))
    if not 5 <= attempts <= 100:  # Pub/Sub's limits
        raise Failed("INVALID_ARGUMENT: max-delivery-attempts must be between 5 and 100.")
    topic = need_topic(call, "--dead-letter-topic")
    policy = {"deadLetterTopic": topic, "maxDeliveryAttempts": attempts}
    SUBSCRIPTIONS.find(call)["deadLetterPolicy"] = policy
