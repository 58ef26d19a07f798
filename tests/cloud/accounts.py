"""Who is logged in, the project's APIs, and service accounts."""

import re

from tests.cloud.call import Call, command, show
from tests.cloud.project import NUMBER, Failed, Unknown


@command("auth list", "--filter= --format=")
def _(call: Call) -> None:
    if call.state["account"]:
        show(call, {"account": call.state["account"], "status": "ACTIVE"})
    else:
        call.say("\nNo credentialed accounts.\n\nTo login, run:\n  $ gcloud auth login `ACCOUNT`\n")


@command("config list", "--format=")
def _(call: Call) -> None:
    # The real bq asks this.
    core = {key: call.state[key] for key in ("account", "project")}
    show(call, {"core": {**core, "universe_domain": "googleapis.com"}, "auth": {}})


@command("config get")
def _(call: Call) -> None:
    if call.arguments != ["account"]:
        raise Unknown("the setting")
    call.print(call.state["account"])


@command("services list", "--enabled --project= --format=")
def _(call: Call) -> None:
    show(call, *({"config": {"name": name}} for name in call.state["apis"]))


@command("services enable", "--project=")
def _(call: Call) -> None:
    call.state["apis"] = sorted({*call.state["apis"], *call.arguments})
    call.say(f'Operation "operations/acf.p2-{NUMBER}-1" finished successfully.')


@command("iam service-accounts create", "--project= --display-name=", api="iam")
def _(call: Call) -> None:
    name, project = call.arguments[0], call.flag("--project")
    domain, _, simple = project.rpartition(":")
    email = f"{name}@{simple}{f'.{domain}' if domain else ''}.iam.gserviceaccount.com"
    if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", name):
        raise Failed(f"INVALID_ARGUMENT: Invalid service account id {name}")
    if email in call.state["accounts"]:
        raise Failed(
            f"Resource in projects [{project}] is the subject of a conflict: Service account"
            f" {name} already exists within project projects/{project}."
        )
    call.state["accounts"][email] = {"email": email, "displayName": call.flag("--display-name")}
    call.say(f"Created service account [{name}].")
