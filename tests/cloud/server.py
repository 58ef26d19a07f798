"""Serves projects to the tools on a test's PATH, which are a few lines of bash."""

import shutil
import socketserver
import textwrap
import time
from pathlib import Path

from tests.cloud import accounts, bigquery, functions, monitoring, pubsub, scheduler, storage
from tests.cloud.call import Call, parse
from tests.cloud.faults import strike
from tests.cloud.project import Command, Failed, Project, Unknown, copied

SERVICES = [accounts, bigquery, functions, monitoring, pubsub, scheduler, storage]  # commands

# What is asked of this machine alone.
LOCAL = ["auth list", "auth print-access-token", "config get", "config list", ""]
NOBODY = "You do not currently have an active account selected. Please run: gcloud auth login"

# Sends its words, each ended by a zero byte, and prints what comes back.
TOOL = """\
#!{bash}
LC_ALL=C
exec 3<>"/dev/tcp/127.0.0.1/$CLOUD_PORT"
silent=${{CLOUDSDK_CORE_DISABLE_PROMPTS-}}
printf '%s\\0' $(($# + 4)) "$CLOUD_PROJECT" "$PWD" "$silent" {tool} "$@" >&3
read -r -u 3 status out err
((!out)) || {{ IFS= read -r -N "$out" -u 3 text && printf '%s' "$text"; }}
((!err)) || {{ IFS= read -r -N "$err" -u 3 text && printf '%s' "$text" >&2; }}
exit "$status"
"""


def tools(folder: Path, *names: str) -> Path:
    for name in names:
        tool = folder / name
        tool.write_text(TOOL.format(bash=shutil.which("bash"), tool=name))
        tool.chmod(0o755)
    return folder


class Server(socketserver.ThreadingTCPServer):
    """Answers the tools. A project is served by the name under which it is in `projects`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.projects: dict[str, Project] = {}


class Handler(socketserver.StreamRequestHandler):
    """One run of a tool."""

    server: Server

    def handle(self) -> None:
        received = b""
        while received.count(b"\0") <= int(received.partition(b"\0")[0] or 0):
            received += self.request.recv(65536)
        _, *texts, _ = received.decode(errors="surrogateescape").split("\0")
        key, folder, silent, tool, *words = texts
        project = self.server.projects[key]
        status, out, err = run(project, tool, words, Path(folder), may_ask=silent != "1")
        printed = [text.encode(errors="surrogateescape") for text in (out, err)]
        head = f"{status} {len(printed[0])} {len(printed[1])}\n".encode()
        self.wfile.write(head + b"".join(printed))


def run(
    project: Project, tool: str, words: list[str], folder: Path, *, may_ask: bool
) -> tuple[int, str, str]:
    if tool == "sleep":
        project.commands.append(Command(tool=tool, words=words, changed=False, status=0))
        time.sleep(project.sleep)
        return 0, "", ""
    with project.lock:
        state = copied(project.state)
        call = Call(project=project, state=state, tool=tool, words=words, folder=folder)
        status = carry_out(call, may_ask=may_ask)
        changed = call.struck or call.state != project.state
        command = Command(tool=tool, words=words, changed=changed, status=status)
        project.commands.append(command)
        if changed and (status == 0 or call.lost):
            project.state = call.state
            project.states.append(copied(call.state))
    return status, call.out, call.err


def carry_out(call: Call, *, may_ask: bool) -> int:
    try:
        carry_out_or_fail(call, may_ask=may_ask)
    except Failed as failure:
        return fail(call, failure)
    except Unknown as unknown:
        call.project.unknown.append(f"{call.tool} {' '.join(call.words)}: {unknown}")
        call.say(f"the double does not know: {call.project.unknown[-1]}")
        return 99
    return 0


def carry_out_or_fail(call: Call, *, may_ask: bool) -> None:
    command, api = parse(call)
    local = call.path in LOCAL and "--write-out" not in call.flags  # curl changes objects with it
    if may_ask and not local and "--quiet" not in call.flags and "--headless" not in call.flags:
        raise Unknown("may ask something, and wait")
    if not local:
        if not call.state["account"]:
            raise Failed(NOBODY)
        for project in (call.flag("--project"), call.flag("--project_id")):
            call.need_project(project or call.state["project"])
        if call.path.startswith("projects "):
            call.need_project(call.arguments[0])
        strike(call, command)
        call.need_api(api)
    command(call)


def fail(call: Call, failure: Failed) -> int:
    if call.tool == "gcloud":
        call.out = ""
        call.say(f"ERROR: (gcloud.{call.path.replace(' ', '.')}) {failure.words}")
    else:
        words = failure.words.removeprefix("INVALID_ARGUMENT: ")
        call.out = textwrap.fill(f"BigQuery error in {call.path} operation: {words}", 80) + "\n"
    return failure.status
