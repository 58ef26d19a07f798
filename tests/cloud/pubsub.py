"""Pub/Sub."""

from tests.cloud.call import WHO, Call, command
from tests.cloud.project import Failed, Json

MISSING = f"NOT_FOUND: Resource not found (resource={{name}}). {WHO}"


def make(call: Call, kind: str, resource: Json) -> None:
    """Make a topic or a subscription."""
    [name] = call.arguments
    if name in call.state[kind]:
        raise Failed(f"Resource already exists in the project (resource={name}).")
    call.state[kind][name] = resource
    call.say(f"Created {kind[:-1]} [projects/{call.flag('--project')}/{kind}/{name}].")


def need_topic(call: Call, name: str) -> None:
    """Fail unless there is a topic of this name."""
    if name.rpartition("/")[2] not in call.state["topics"]:
        raise Failed(MISSING.format(name=name))


@command("pubsub topics create", "--project=", api="pubsub")
def _(call: Call) -> None:
    make(call, "topics", {})


@command(
    "pubsub subscriptions create",
    "--project= --topic= --message-retention-duration= --expiration-period=",
    api="pubsub",
)
def _(call: Call) -> None:
    need_topic(call, call.flag("--topic"))
    subscription = {
        "topic": f"projects/{call.flag('--project')}/topics/{call.flag('--topic')}",
        "messageRetentionDuration": call.flag("--message-retention-duration"),
        "expirationPolicy": call.flag("--expiration-period"),
    }
    make(call, "subscriptions", subscription)


@command(
    "pubsub subscriptions update",
    "--project= --dead-letter-topic= --max-delivery-attempts=",
    api="pubsub",
)
def _(call: Call) -> None:
    topic, attempts = call.flag("--dead-letter-topic"), call.flag("--max-delivery-attempts", "5")
    need_topic(call, topic)
    if not 5 <= int(attempts) <= 100:  # Pub/Sub's limits
        raise Failed("INVALID_ARGUMENT: max-delivery-attempts must be between 5 and 100.")
    policy = {"deadLetterTopic": topic, "maxDeliveryAttempts": int(attempts)}
    call.find("subscriptions", MISSING)["deadLetterPolicy"] = policy
    call.say(f"Updated subscription [{call.arguments[0]}].")
