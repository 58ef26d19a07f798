"""Kinds of resources, and the commands that all of them have."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.project import NUMBER, Failed, Json, Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of resource, and what gcloud says when there is none of a name."""

    group: str  # gcloud's
    state: str  # where it is in the state
    api: str = ""
    place: str = "--project="  # the options that say where to look
    missing: str = f"NOT_FOUND: Resource not found (resource={{name}}). {WHO}"
    policy: bool = False
    condition: bool = False  # its bindings can have one; gcloud asks unless None is given
    make: Callable[[Call], Json] | None = None  # what create makes
    create: str = "create"
    details: str = ""  # more options of describe
    options: str = ""  # of create

    def find(self, call: Call) -> Json:
        return call.find(self.state, self.missing)

    def register(self) -> "Kind":
        command(f"{self.group} describe", f"{self.place} {self.details} --format=", api=self.api)(
            self._describe
        )
        if self.policy:
            options = f"{self.place} --flatten= --format="
            command(f"{self.group} get-iam-policy", options, api=self.api)(self._get_policy)
            options = f"{self.place} --member= --role= --format={' --condition=' * self.condition}"
            command(f"{self.group} add-iam-policy-binding", options, api=self.api)(self._bind)
        if self.make:
            options = f"{self.place} --format= {self.options}"
            command(f"{self.group} {self.create}", options, api=self.api)(self._create)
        return self

    def _describe(self, call: Call) -> None:
        show(call, self.find(call))

    def _get_policy(self, call: Call) -> None:
        self.find(call)
        if call.flag("--flatten") != "bindings[].members":
            raise Unknown(f"--flatten={call.flag('--flatten')}")
        roles = call.state["policies"].get(f"{self.group}/{call.arguments[0]}", {})
        bindings = [{"role": role, "members": m} for role, ms in roles.items() for m in ms]
        show(call, *({"bindings": binding} for binding in bindings))

    def _bind(self, call: Call) -> None:
        self.find(call)
        if self.condition and call.flag("--condition") != "None":
            raise Failed("Adding a binding without specifying a condition may be prohibited")
        policy = f"{self.group}/{call.arguments[0]}"
        call.bind(policy, call.flag("--member"), call.flag("--role"))
        call.say(f"Updated IAM policy for [{call.arguments[0]}].")

    def _create(self, call: Call) -> None:
        assert self.make
        resource = self.make(call)
        name = resource.pop("key", call.arguments[0] if call.arguments else "")
        if name in call.state[self.state]:
            raise Failed(f"ALREADY_EXISTS: Resource already exists (resource={name}).")
        call.state[self.state][name] = resource
        call.say(f"Created [{name}].")


class Projects(Kind):
    """There is always one."""

    def find(self, call: Call) -> Json:
        created = call.state.get("created", "2026-03-01T12:00:00Z")
        return {"projectId": call.arguments[0], "projectNumber": NUMBER, "createTime": created}


Projects(group="projects", state="", place="", policy=True, condition=True).register()
