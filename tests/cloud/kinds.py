"""What all kinds of resources can do: describe, get-iam-policy, add-iam-policy-binding."""

from dataclasses import dataclass

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.project import Failed, Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of resource, and what gcloud says when there is none of a name."""

    group: str
    state: str  # where it is in the state
    api: str = ""
    place: str = "--project="  # the options that say where to look
    missing: str = f"NOT_FOUND: Resource not found (resource={{name}}). {WHO}"
    described: bool = True
    policy: bool = False
    condition: bool = False  # its bindings can have one; gcloud asks unless None is given


KINDS = [
    Kind(group="projects", state="projects", place="", policy=True, condition=True),
    Kind(
        group="iam service-accounts",
        state="accounts",
        api="iam",
        missing=f"NOT_FOUND: Unknown service account. {WHO}",
        policy=True,
        condition=True,
    ),
    Kind(
        group="storage buckets",
        state="buckets",
        api="storage",
        place="",
        missing="{name} not found: 404.",
        policy=True,
        condition=True,
    ),
    Kind(
        group="functions",
        state="functions",
        api="cloudfunctions",
        place="--gen2 --project= --region=",
        missing="ResponseError: status=[404], code=[Ok], message=[Resource '{name}' was not found]",
    ),
    Kind(
        group="run services",
        state="functions",
        api="run",
        place="--project= --region=",
        described=False,
        policy=True,
        condition=True,
    ),
    Kind(
        group="scheduler jobs",
        state="jobs",
        api="cloudscheduler",
        place="--location= --project=",
        missing=f"NOT_FOUND: Job not found. {WHO}",
    ),
    Kind(group="eventarc triggers", state="triggers", api="eventarc"),
    Kind(
        group="logging metrics",
        state="metrics",
        api="logging",
        missing=f"NOT_FOUND: Metric {{name}} does not exist. {WHO}",
    ),
    Kind(group="pubsub topics", state="topics", api="pubsub", policy=True),
    Kind(group="pubsub subscriptions", state="subscriptions", api="pubsub", policy=True),
]


def find(call: Call, kind: Kind) -> None:
    """Fail unless the resource is there."""
    if kind.state != "projects":
        call.find(kind.state, kind.missing)


def policy_of(call: Call, kind: Kind) -> str:
    """Return the name of a resource's policy in the state."""
    return kind.state if kind.state == "projects" else f"{kind.group}/{call.arguments[0]}"


def register(kind: Kind) -> None:
    """Put a kind's commands into the table."""

    def describe(call: Call) -> None:
        if kind.state == "projects":
            show(call, {"projectId": call.arguments[0], "projectNumber": "123456789012"})
        else:
            show(call, call.find(kind.state, kind.missing))

    def get_policy(call: Call) -> None:
        find(call, kind)
        if call.flag("--flatten") != "bindings[].members":
            raise Unknown(f"--flatten={call.flag('--flatten')}")
        roles = call.state["policies"].get(policy_of(call, kind), {})
        bindings = [{"role": role, "members": m} for role, ms in roles.items() for m in ms]
        show(call, *({"bindings": binding} for binding in bindings))

    def bind(call: Call) -> None:
        find(call, kind)
        if kind.condition and call.flag("--condition") != "None":
            raise Failed("Adding a binding without specifying a condition may be prohibited")
        call.bind(policy_of(call, kind), call.flag("--member"), call.flag("--role"))
        call.say(f"Updated IAM policy for [{call.arguments[0]}].")

    if kind.described:
        command(f"{kind.group} describe", f"{kind.place} --format=", api=kind.api)(describe)
    if kind.policy:
        options = f"{kind.place} --flatten= --format="
        command(f"{kind.group} get-iam-policy", options, api=kind.api)(get_policy)
        options = f"{kind.place} --member= --role= --format={' --condition=' * kind.condition}"
        command(f"{kind.group} add-iam-policy-binding", options, api=kind.api)(bind)


for one in KINDS:
    register(one)
