"""Who is logged in, the project's APIs, and service accounts."""

import re

from tests.cloud.call import WHO, Call, command, show
from tests.cloud.kinds import Kind
from tests.cloud.project import NUMBER, Failed, Json


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
    call.print(call.state[call.arguments[0]])


@command("services list", "--enabled --project= --format=")
def _(call: Call) -> None:
    show(call, *({"config": {"name": name}} for name in call.state["apis"]))


@command("services enable", "--project=")
def _(call: Call) -> None:
    call.state["apis"] = sorted({*call.state["apis"], *call.arguments})
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
