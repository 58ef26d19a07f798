"""The state of a project, what was done to it, and what is to go wrong."""

import json
import shlex
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]

ACCOUNT = "me@example.com"
NUMBER = "123456789012"
AGENTS = [
    f"service-{NUMBER}@{agent}.iam.gserviceaccount.com"
    for agent in ("gs-project-accounts", "gcp-sa-pubsub", "gcp-sa-eventarc", "gcp-sa-logging")
]
STORAGE_AGENT, PUBSUB_AGENT, EVENTARC_AGENT, LOGGING_AGENT = (
    f"serviceAccount:{agent}" for agent in AGENTS
)


class Failed(Exception):
    """The tool ends with an error, in its own words."""

    def __init__(self, words: str, status: int = 1) -> None:
        super().__init__(words)
        self.words, self.status = words, status


class Unknown(Exception):
    """The double does not know the command."""


@dataclass(kw_only=True)
class Fault:
    """What goes wrong: with commands that contain some words, after some that go well."""

    words: str
    command: str = ""
    times: int = 1
    after: int = 0
    changes: bool = False  # only with commands that would change something
    each: int = 0  # instead of `times`: how often each command fails
    lost: bool = False  # the command does its work, and only its answer is lost
    seen: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that was run. `changed` is true if it did, or would have but failed."""

    tool: str
    words: Sequence[str]
    changed: bool
    status: int

    def __str__(self) -> str:
        """Return what a person would type."""
        return shlex.join([self.tool, *self.words])

    @property
    def flags(self) -> set[str]:
        return {word for word in self.words if word.startswith("--")}


def copied(state: Json) -> Json:
    """Copy a state, many times as fast as deepcopy does."""
    copy: Json = json.loads(json.dumps(state))
    return copy


KINDS = (
    "accounts alerts buckets datasets functions jobs metrics routines rows sinks subscriptions"
    " tables topics triggers"
)


def new_state(project: str) -> Json:
    apis = ("bigquery", "logging", "monitoring", "storage")
    return {
        "project": project,
        "account": ACCOUNT,
        "apis": [f"{api}.googleapis.com" for api in apis],
        "policies": {f"projects/{project}": {"roles/owner": [f"user:{ACCOUNT}"]}},
        **{kind: {} for kind in KINDS.split()},
        "objects": [],
    }


@dataclass(kw_only=True)
class Project:
    """A project."""

    state: Json
    faults: list[Fault] = field(default_factory=list)
    row_after: int = 1  # the query, of the same kind, at which a row is there; never if negative
    silent: str = ""  # the event that does not come, although its trigger is right
    asked: Counter[str] = field(default_factory=Counter)  # queries for a row
    lines: list[Json] = field(default_factory=list)  # what the functions have logged
    messages: list[Json] = field(default_factory=list)  # in a subscription that is pulled
    commands: list[Command] = field(default_factory=list)
    states: list[Json] = field(default_factory=list)  # after each change
    unknown: list[str] = field(default_factory=list)
    sleep: float = 0  # how long the tool sleep really sleeps
    token_file: str = ""  # for the real bq
    lock: threading.Lock = field(default_factory=threading.Lock)

    def bindings(self, policy: str) -> set[tuple[str, str]]:
        roles = self.state["policies"].get(policy, {})
        return {(member, role) for role, members in roles.items() for member in members}
