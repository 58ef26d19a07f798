"""One command while it runs, the table of commands, and how results are printed."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cloud.project import ACCOUNT, AGENTS, Failed, Json, Project, Unknown

WHO = (
    f"This command is authenticated as {ACCOUNT} which is the active account specified by the"
    " [core/account] property."
)


@dataclass(kw_only=True)
class Call:
    """One command while it runs, on a state that counts only if it succeeds."""

    project: Project
    state: Json
    tool: str
    words: list[str]
    folder: Path  # in which the tool runs
    path: str = ""
    flags: dict[str, list[str]] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    out: str = ""
    err: str = ""
    struck: bool = False  # by a fault, when it would have changed something
    lost: bool = False  # its answer, by a fault

    def flag(self, name: str, default: str = "") -> str:
        """Return an option's value; if it is given several times, the last."""
        return self.flags.get(name, [default])[-1]

    def print(self, text: str) -> None:
        self.out += f"{text}\n"

    def say(self, text: str) -> None:
        self.err += f"{text}\n"

    def find(self, kind: str, missing: str) -> Json:
        name = self.arguments[0] if kind == "buckets" else self.arguments[0].rpartition("/")[2]
        if name not in self.state[kind]:
            raise Failed(missing.format(name=name))
        found: Json = self.state[kind][name]
        return found

    def need_api(self, name: str) -> None:
        if name and f"{name}.googleapis.com" not in self.state["apis"]:
            raise Failed(
                f"PERMISSION_DENIED: {name.capitalize()} API has not been used in project"
                f" {self.state['project']} before or it is disabled. Enable it by visiting"
                f" https://console.developers.google.com/apis/api/{name}.googleapis.com then retry."
            )

    def need_project(self, name: str) -> None:
        if name != self.state["project"]:
            raise Failed(
                f"[{ACCOUNT}] does not have permission to access projects instance [{name}] (or it"
                f" may not exist): The caller does not have permission. {WHO}"
            )

    def need_member(self, member: str) -> None:
        kind, _, name = member.partition(":")
        if kind == "serviceAccount" and name not in (*self.state["accounts"], *AGENTS):
            raise Failed(f"INVALID_ARGUMENT: Service account {name} does not exist.")

    def bind(self, policy: str, member: str, role: str) -> None:
        self.need_member(member)
        members = self.state["policies"].setdefault(policy, {}).setdefault(role, [])
        if member not in members:
            members.append(member)
            members.sort()


type Run = Callable[[Call], None]

# Each command of a tool: what it does, the API that it needs, and its options; one that takes a
# value ends in `=`.
COMMANDS: dict[tuple[str, str], tuple[Run, str, list[str]]] = {}


def command(
    path: str, options: str = "", *, api: str = "", tool: str = "gcloud"
) -> Callable[[Run], Run]:
    """Name the command that a function carries out."""

    def register(run: Run) -> Run:
        COMMANDS[tool, path] = run, api, options.split()
        return run

    return register


def parse(call: Call) -> tuple[Run, str]:
    names = [word for word in call.words if not word.startswith("--")]
    for length in range(min(4, len(names)), 0, -1):
        call.path = " ".join(names[:length])
        if (call.tool, call.path) in COMMANDS:
            break
    else:
        call.path, length = "", 0
    if (call.tool, call.path) not in COMMANDS:
        raise Unknown("the command")
    run, api, options = COMMANDS[call.tool, call.path]
    left = names[:length]
    for word in call.words:
        name, equals, value = word.partition("=")
        if word in left:
            left.remove(word)
        elif not word.startswith("--"):
            call.arguments.append(word)
        elif f"{name}{equals}" in options:
            call.flags.setdefault(name, []).append(value if equals else "yes")
        else:
            raise Unknown(word)
    return run, api


def get(resource: object, key: str) -> Any:  # noqa: ANN401 - any value of JSON
    """Return a field, `a.b.c`, `a[0].b` or, of all of a list, `a[].b`; None if there is none."""
    for name in filter(None, re.split(r"[.\[\]]+", key)):
        if isinstance(resource, list) and not name.isdigit():
            resource = [get(item, name) for item in resource]
        elif isinstance(resource, list):
            resource = resource[int(name)] if int(name) < len(resource) else None
        else:
            resource = resource.get(name) if isinstance(resource, dict) else None
    return resource


def column(resource: Json, key: str) -> str:
    if first := re.fullmatch(r"firstof\((.*)\)", key):
        return next(filter(None, (column(resource, name) for name in first[1].split(","))), "")
    plain = re.fullmatch(r"([\w.\[\]]+?)(?:\.(basename|list|date|encode|segment)\((.*)\))?", key)
    if not plain:
        raise Unknown(f"column {key}")
    value = get(resource, plain[1])
    match plain[2]:
        case "basename":
            value = value and value.rpartition("/")[2]
        case "segment":
            value = value and value.split("/")[int(plain[3])]
        case "list":
            value = ",".join(value or [])
        case "date":
            value = value and value[:19].replace("T", " ")
        case "encode":
            value = value and base64.b64encode(value.encode()).decode()
    if isinstance(value, dict | list):
        raise Unknown(f"column {key} of {value}")
    return "" if value is None else str(value)


def show(call: Call, *resources: Json) -> None:
    wanted = call.flag("--format", "json")
    if wanted in {"none", "json"}:
        call.out += "" if wanted == "none" else f"{json.dumps(resources[0], indent=2)}\n"
        return
    projection = re.fullmatch(r"(value|csv)(?:\[(.*?)\])?\((.*)\)", wanted)
    if not projection or (projection[1] == "csv" and "no-heading" not in projection[2]):
        raise Unknown(f"--format={wanted}")
    separator = "\t" if projection[1] == "value" else ","
    if given := re.search(r'separator="(.*?)"', projection[2] or ""):
        separator = given[1]
    keys = re.split(r",\s*(?![^(]*\))", projection[3])
    for resource in resources:
        cells = [column(resource, key) for key in keys]
        if projection[1] == "csv":
            special = re.compile(f'["{re.escape(separator)}]')
            cells = [f'"{c.replace('"', '""')}"' if special.search(c) else c for c in cells]
        call.print(separator.join(cells))
