"""Who is logged in, the project's APIs, and service accounts."""

import json
import re

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.kinds import Kind
from tests.cloud.project import EVENTARC_AGENT, NUMBER, Failed, Json
from tests.cloud.storage import change_objects


@command("auth list", "--filter= --format=")
def _(call: Call) -> None:
    if call.state["account"]:
        show(call, {"account": call.state["account"], "status": "ACTIVE"})
    else:
        call.say("\nNo credentialed accounts.\n\nTo login, run:\n  $ gcloud auth login `ACCOUNT`\n")


@command("config list", "--format=")  # the real bq asks this
def _(call: Call) -> None:
    core = {key: call.state[key] for key in ("account", "project")}
    auth = {"access_token_file": call.project.token_file}
    show(call, {"core": {**core, "universe_domain": "googleapis.com"}, "auth": auth})


@command("config get")
def _(call: Call) -> None:
    """An unset property is an empty line, which `$(…)` drops."""
    call.print(call.state.get(call.arguments[0], ""))


@command("auth print-access-token")
def _(call: Call) -> None:
    call.print("token")


@command(
    "",
    "--silent --fail --config --max-time --header --data --show-error --retry --path-as-is"
    " --write-out",
    tool="curl",
)
def _(call: Call) -> None:
    if "--data" in call.flags:
        test_permissions(call)
    else:
        change_objects(call)


def test_permissions(call: Call) -> None:
    """What the one who asks may do; `denied` in the state are the permissions that are missing."""
    *_, asked, url = call.arguments
    assert url.endswith(f"/v1/projects/{call.state['project']}:testIamPermissions")
    wanted = json.loads(asked)["permissions"]
    call.out = json.dumps({"permissions": sorted({*wanted} - {*call.state.get("lacking", [])})})


@command("services list", "--enabled --project= --format=")
def _(call: Call) -> None:
    show(call, *({"config": {"name": name}} for name in call.state["apis"]))


@command("services enable", "--project=")
def _(call: Call) -> None:
    call.state["apis"] = sorted({*call.state["apis"], *call.arguments})
    if "eventarc.googleapis.com" in call.arguments:
        call.bind(
            f"projects/{call.state['project']}", EVENTARC_AGENT, "roles/eventarc.serviceAgent"
        )
    call.say(f'Operation "operations/acf.p2-{NUMBER}-1" finished successfully.')


def make_account(call: Call) -> Json:
    name, project = call.arguments[0], call.flag("--project")
    domain, _, simple = project.rpartition(":")
    email = f"{name}@{simple}{f'.{domain}' if domain else ''}.iam.gserviceaccount.com"
    if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", name):
        raise Failed(f"INVALID_ARGUMENT: Invalid service account id {name}")
    return {"key": email, "email": email, "displayName": call.flag("--display-name")}


Kind(
    group="iam service-accounts",
    state="accounts",
    api="iam",
    missing=f"NOT_FOUND: Unknown service account. {WHO}",
    policy=True,
    condition=True,
    make=make_account,
    options="--display-name=",
).register()
