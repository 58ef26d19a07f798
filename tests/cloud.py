"""
A Google Cloud project in a folder, and the `gcloud`, `bq` and `sleep` which work on it.

`main("gcloud", …)` answers in the words, on the streams and with the exit codes of the
real tool, as SDK 528 does, for the commands that deploy/ uses. Any other command, or option, ends
with 99, and stands in the state's `unknown`. The folder is named by $CLOUD_FOLDER; in it is:

- state.json: the project. Which resources there are, and what is to go wrong (`faults`).
- commands.jsonl: each command with its arguments, in their order, and what came of it.
- states.jsonl: the project after each command that changes something.
"""

import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

type Json = dict[str, Any]

FOLDER = Path(os.environ.get("CLOUD_FOLDER", "."))
ACCOUNT = "me@example.com"
NUMBER = "123456789012"
# What a new project has from the beginning.
FIRST_APIS = ["bigquery", "logging", "monitoring", "storage"]
# What is asked of this machine alone.
LOCAL = ["auth list", "config get", "config list"]
AGENTS = ["gs-project-accounts", "gcp-sa-pubsub"]
WHO = (
    f"This command is authenticated as {ACCOUNT} which is the active account specified by the"
    " [core/account] property."
)
NOBODY = """\
You do not currently have an active account selected.
Please run:

  $ gcloud auth login

to obtain new credentials.

If you have already logged in with a different account, run:

  $ gcloud config set account ACCOUNT

to select an already authenticated account to use."""
NOT_READY = (
    "Validation failed for trigger {trigger}: Invalid resource state for"
    ' "": Permission denied while using the Eventarc Service Agent. If you recently started to use'
    " Eventarc, it may take a few minutes before all necessary permissions are propagated to the"
    " Service Agent. Otherwise, verify that it has Eventarc Service Agent role."
)
NO_PUBLISHER = (
    "Creating trigger failed for {trigger}: The Cloud Storage service account for your bucket is"
    " unable to publish to Cloud Pub/Sub topics in the specified project.\nTo use GCS CloudEvent"
    " triggers, the GCS service account requires the Pub/Sub Publisher (roles/pubsub.publisher)"
    " IAM role in the specified project."
)
NO_METRIC = (
    'NOT_FOUND: Cannot find metric that matches type = "logging.googleapis.com/user/{metric}". If a'
    " metric was created recently, it could take up to 10 minutes to become available."
)
NO_ACCOUNTS = "\nNo credentialed accounts.\n\nTo login, run:\n  $ gcloud auth login `ACCOUNT`\n"


class Failed(Exception):
    """The tool ends with an error, in its own words."""

    def __init__(self, words: str, status: int = 1) -> None:
        """`words` come after `ERROR: (gcloud.…) ` or `BigQuery error in … operation: `."""
        super().__init__(words)
        self.words = words
        self.status = status


class Unknown(Exception):
    """The double does not know the command."""


def new_project(name: str) -> Json:
    """Give the state of a project in which nobody has done anything yet."""
    return {
        "project": name,
        "account": ACCOUNT,
        "apis": [f"{api}.googleapis.com" for api in FIRST_APIS],
        "policies": {"project": [{"role": "roles/owner", "members": [f"user:{ACCOUNT}"]}]},
        "buckets": {},
        "objects": [],
        "accounts": {},
        "datasets": {},
        "tables": {},
        "functions": {},
        "triggers": {},
        "jobs": {},
        "topics": {},
        "subscriptions": {},
        "metrics": {},
        "alerts": {},
        # How it behaves: the query at which an upload's row is there, what the function has logged,
        # what goes wrong, and what nobody has thought of.
        "row_after": 1,
        "lines": [],
        "faults": [],
        "unknown": [],
    }


class Cloud:
    """The project, while one command is run on it."""

    def __init__(self, tool: str, words: list[str]) -> None:
        """Read the state."""
        self.tool, self.words = tool, words
        self.state: Json = json.loads((FOLDER / "state.json").read_text())
        self.path = ""
        self.flags: dict[str, list[str]] = {}
        self.arguments: list[str] = []

    def flag(self, name: str, default: str = "") -> str:
        """Give an option's value; of several, the last."""
        return self.flags.get(name, [default])[-1]

    def need_api(self, name: str) -> None:
        if f"{name}.googleapis.com" not in self.state["apis"]:
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

    def bind(self, policy: str, member: str, role: str) -> None:
        """Add a binding; one for an account that is not there is refused."""
        kind, _, name = member.partition(":")
        if kind == "serviceAccount":
            self.need_member(name)
        bindings: list[Json] = self.state["policies"].setdefault(policy, [])
        for binding in bindings:
            if binding["role"] == role:
                binding["members"] = sorted({*binding["members"], member})
                return
        bindings.append({"role": role, "members": [member]})

    def need_member(self, name: str) -> None:
        agents = [f"service-{NUMBER}@{agent}.iam.gserviceaccount.com" for agent in AGENTS]
        if name not in self.state["accounts"] and name not in agents:
            raise Failed(f"INVALID_ARGUMENT: Service account {name} does not exist.")

    def holds(self, policy: str, role: str) -> Iterator[str]:
        for binding in self.state["policies"].get(policy, []):
            if binding["role"] == role:
                yield from binding["members"]


# --- What gcloud shows ----------------------------------------------------------------------------


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def told(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def get(resource: object, key: str) -> Any:  # noqa: ANN401
    """Give a field, `a.b.c` or `a[0].b`; None if there is none."""
    for name in filter(None, re.split(r"[.\[\]]+", key)):
        if isinstance(resource, list):
            resource = resource[int(name)] if int(name) < len(resource) else None
        else:
            resource = resource.get(name) if isinstance(resource, dict) else None
    return resource


def column(resource: Json, key: str) -> str:
    """Give what a column of --format shows."""
    if first := re.fullmatch(r"firstof\((.*)\)", key):
        return next(filter(None, (column(resource, name) for name in first[1].split(","))), "")
    plain = re.fullmatch(r"([\w.\[\]]+?)(?:\.(basename|list|date)\((.*)\))?", key)
    if not plain:
        raise Unknown(f"column {key}")
    value = get(resource, plain[1])
    match plain[2]:
        case "basename":
            value = value and value.rpartition("/")[2]
        case "list":
            value = ",".join(value or [])
        case "date":
            value = value and value[:19].replace("T", " ")
    if isinstance(value, dict | list):
        raise Unknown(f"column {key} of {value}")
    return "" if value is None else str(value)


def show(cloud: Cloud, *resources: Json, default: str = "json") -> None:
    """Print as --format says."""
    wanted = cloud.flag("--format", default)
    if wanted == "none":
        return
    if wanted == "json":
        say(json.dumps(resources[0] if len(resources) == 1 else resources, indent=2))
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
        say(separator.join(cells))


# --- What gcloud and bq can do --------------------------------------------------------------------

type Command = Callable[[Cloud], None]

# Each command: what it does, whether it changes something, the API it needs, and its options; one
# that takes a value ends in `=`.
COMMANDS: dict[tuple[str, str], tuple[Command, bool, str, list[str]]] = {}


def command(
    tool: str, path: str, options: str, *, changes: bool = False, api: str = ""
) -> Callable[[Command], Command]:
    """Name the command which a function carries out."""

    def register(function: Command) -> Command:
        COMMANDS[tool, path] = function, changes, api, options.split()
        return function

    return register


@command("gcloud", "auth list", "--filter= --format= --filter-account=")
def _(cloud: Cloud) -> None:
    if not cloud.state["account"]:
        told(NO_ACCOUNTS)
        return
    show(cloud, {"account": cloud.state["account"], "status": "ACTIVE"})


@command("gcloud", "config list", "--format=")
def _(cloud: Cloud) -> None:
    # The real bq asks this.
    core = {"account": cloud.state["account"], "project": cloud.state["project"]}
    core["universe_domain"] = "googleapis.com"
    token = os.environ.get("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", "")
    show(cloud, {"core": core, "auth": {"access_token_file": token}})


@command("gcloud", "config get", "")
def _(cloud: Cloud) -> None:
    if cloud.arguments != ["account"]:
        raise Unknown("the setting")
    say(cloud.state["account"])


@command("gcloud", "projects describe", "--format=")
def _(cloud: Cloud) -> None:
    show(cloud, {"projectId": cloud.arguments[0], "projectNumber": NUMBER})


@command("gcloud", "services list", "--enabled --project= --format=")
def _(cloud: Cloud) -> None:
    show(cloud, *({"config": {"name": name}} for name in cloud.state["apis"]))


@command("gcloud", "services enable", "--project=", changes=True)
def _(cloud: Cloud) -> None:
    cloud.state["apis"] = sorted({*cloud.state["apis"], *cloud.arguments})
    told(f'Operation "operations/acf.p2-{NUMBER}-1" finished successfully.')


@command("gcloud", "projects get-iam-policy", "--flatten= --format=")
def _(cloud: Cloud) -> None:
    flat = [
        {"bindings": {**binding, "members": member}}
        for binding in cloud.state["policies"]["project"]
        for member in binding["members"]
    ]
    match cloud.flag("--flatten"):
        case "bindings[].members":
            show(cloud, *flat)
        case "":
            show(cloud, {"bindings": cloud.state["policies"]["project"], "etag": "BwXhqDVKxmA="})
        case other:
            raise Unknown(f"--flatten={other}")


@command(
    "gcloud",
    "projects add-iam-policy-binding",
    "--member= --role= --condition= --format=",
    changes=True,
)
def _(cloud: Cloud) -> None:
    if cloud.flag("--condition") != "None":
        raise Failed("Adding a binding without specifying a condition may be prohibited", 1)
    cloud.bind("project", cloud.flag("--member"), cloud.flag("--role"))
    told(f"Updated IAM policy for project [{cloud.arguments[0]}].")
    show(cloud, {"bindings": cloud.state["policies"]["project"]})


@command("gcloud", "iam service-accounts describe", "--project= --format=", api="iam")
def _(cloud: Cloud) -> None:
    show(cloud, cloud.state["accounts"][account(cloud)])


@command(
    "gcloud",
    "iam service-accounts create",
    "--project= --display-name= --description= --format=",
    changes=True,
    api="iam",
)
def _(cloud: Cloud) -> None:
    name, project = cloud.arguments[0], cloud.flag("--project")
    domain, _, simple = project.rpartition(":")
    email = f"{name}@{simple}{f'.{domain}' if domain else ''}.iam.gserviceaccount.com"
    if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", name):
        raise Failed(f"INVALID_ARGUMENT: Invalid service account id {name}")
    if email in cloud.state["accounts"]:
        raise Failed(
            f"Resource in projects [{project}] is the subject of a conflict: Service account"
            f" {name} already exists within project projects/{project}."
        )
    cloud.state["accounts"][email] = {"email": email, "displayName": cloud.flag("--display-name")}
    told(f"Created service account [{name}].")


@command("gcloud", "iam service-accounts get-iam-policy", "--project= --format=", api="iam")
def _(cloud: Cloud) -> None:
    show_policy(cloud, f"accounts/{account(cloud)}")


@command(
    "gcloud",
    "iam service-accounts add-iam-policy-binding",
    "--project= --member= --role= --condition= --format=",
    changes=True,
    api="iam",
)
def _(cloud: Cloud) -> None:
    email = account(cloud)
    cloud.bind(f"accounts/{email}", cloud.flag("--member"), cloud.flag("--role"))
    told(f"Updated IAM policy for serviceAccount [{email}].")


def account(cloud: Cloud) -> str:
    """Give the account which the command names."""
    [email] = cloud.arguments
    if email not in cloud.state["accounts"]:
        raise Failed(f"NOT_FOUND: Unknown service account. {WHO}")
    return email


def show_policy(cloud: Cloud, name: str) -> None:
    """Print a policy; one without bindings has not even the word."""
    bindings = cloud.state["policies"].get(name)
    show(cloud, {**({"bindings": bindings} if bindings else {}), "etag": "ACAB"})


@command("gcloud", "storage service-agent", "--project=", api="storage")
def _(_: Cloud) -> None:
    say(f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com")


@command("gcloud", "storage buckets describe", "--format=", api="storage")
def _(cloud: Cloud) -> None:
    show(cloud, bucket(cloud, cloud.arguments[0]))


def bucket(cloud: Cloud, url: str) -> Json:
    """Give a bucket by its URL."""
    if url not in cloud.state["buckets"]:
        raise Failed(f"{url} not found: 404.")
    found: Json = cloud.state["buckets"][url]
    return found


@command(
    "gcloud",
    "storage buckets create",
    "--project= --location= --uniform-bucket-level-access --public-access-prevention",
    changes=True,
    api="storage",
)
def _(cloud: Cloud) -> None:
    [url] = cloud.arguments
    if url in cloud.state["buckets"]:
        raise Failed(
            "HTTPError 409: Your previous request to create the named bucket succeeded and you"
            " already own it."
        )
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", url):
        raise Failed(f"Invalid bucket name in URL: {url}")
    told(f"Creating {url}/...")
    cloud.state["buckets"][url] = {
        "location": cloud.flag("--location", "US").upper(),
        "uniform_bucket_level_access": "--uniform-bucket-level-access" in cloud.flags,
        "public_access_prevention": (
            "enforced" if "--public-access-prevention" in cloud.flags else "inherited"
        ),
    }


@command(
    "gcloud",
    "storage buckets update",
    "--versioning --uniform-bucket-level-access --public-access-prevention --project=",
    changes=True,
    api="storage",
)
def _(cloud: Cloud) -> None:
    for url in cloud.arguments:
        found = bucket(cloud, url)
        told(f"Updating {url}/...")
        if "--versioning" in cloud.flags:
            found["versioning_enabled"] = True
        if "--uniform-bucket-level-access" in cloud.flags:
            found["uniform_bucket_level_access"] = True
        if "--public-access-prevention" in cloud.flags:
            found["public_access_prevention"] = "enforced"


@command("gcloud", "storage buckets get-iam-policy", "--format=", api="storage")
def _(cloud: Cloud) -> None:
    [url] = cloud.arguments
    bucket(cloud, url)
    show_policy(cloud, f"buckets/{url}")


@command(
    "gcloud",
    "storage buckets add-iam-policy-binding",
    "--member= --role= --condition= --format=",
    changes=True,
    api="storage",
)
def _(cloud: Cloud) -> None:
    [url] = cloud.arguments
    bucket(cloud, url)
    cloud.bind(f"buckets/{url}", cloud.flag("--member"), cloud.flag("--role"))
    show_policy(cloud, f"buckets/{url}")


@command("gcloud", "storage cp", "--custom-metadata=", changes=True, api="storage")
def _(cloud: Cloud) -> None:
    source, url = cloud.arguments
    if source != "-" and not Path(source).is_file():
        raise Failed(f"The following URLs matched no objects or files:\n-{source}")
    if "gs://" + url.removeprefix("gs://").partition("/")[0] not in cloud.state["buckets"]:
        raise Failed("The specified bucket does not exist.")
    told(f"Copying file://{source} to {url}")
    cloud.state["objects"].append(url)


@command("gcloud", "storage rm", "--all-versions", changes=True, api="storage")
def _(cloud: Cloud) -> None:
    for url in cloud.arguments:
        if url not in cloud.state["objects"]:
            raise Failed(f"The following URLs matched no objects or files:\n-{url}")
        told(f"Removing {url}#1795404227814215...")
        cloud.state["objects"].remove(url)


@command(
    "gcloud",
    "functions describe",
    "--gen2 --project= --region= --format=",
    api="cloudfunctions",
)
def _(cloud: Cloud) -> None:
    show(cloud, function(cloud))


def function(cloud: Cloud) -> Json:
    """Give the function which the command names."""
    name = function_name(cloud)
    if name not in cloud.state["functions"]:
        raise Failed(
            f"ResponseError: status=[404], code=[Ok], message=[Resource '{name}' was not found]"
        )
    found: Json = cloud.state["functions"][name]
    return found


def function_name(cloud: Cloud) -> str:
    """Give its full name."""
    place = f"projects/{cloud.flag('--project')}/locations/{cloud.flag('--region')}"
    return f"{place}/functions/{cloud.arguments[0]}"


@command(
    "gcloud",
    "functions deploy",
    "--gen2 --project= --region= --runtime= --source= --entry-point= --trigger-event-filters="
    " --trigger-location= --trigger-service-account= --retry --service-account="
    " --build-service-account= --set-env-vars= --set-build-env-vars= --max-instances= --memory="
    " --timeout= --no-allow-unauthenticated --ingress-settings= --quiet --format= --concurrency="
    " --cpu= --trigger-http",
    changes=True,
    api="cloudfunctions",
)
def _(cloud: Cloud) -> None:
    name, project = function_name(cloud), cloud.flag("--project")
    source = Path(cloud.flag("--source"))
    if not (source / "main.py").is_file():
        raise Failed(f"Provided source directory does not have file [main.py]: {source}")
    cloud.need_api("cloudbuild")
    for flag in ("--service-account", "--trigger-service-account"):
        email = cloud.flag(flag)
        if flag in cloud.flags and email not in cloud.state["accounts"]:
            raise Failed(
                "ResponseError: status=[404], code=[Ok], message=[Service account"
                f" projects/-/serviceAccounts/{email} was not found.]"
            )
    made = cloud.state["functions"].setdefault(name, {"name": name, "state": "FAILED"})
    options = {key: values for key, values in cloud.flags.items() if key != "--source"}
    trigger = {} if "--trigger-http" in cloud.flags else event_trigger(cloud, project)
    # An event's function has one too.
    uri = f"https://{cloud.arguments[0]}-fmwgdkwtaq-uc.a.run.app"
    made |= {"state": "ACTIVE", "options": options, "serviceConfig": {"uri": uri}, **trigger}
    told("Preparing function...done.\nDeploying function...done.")
    show(cloud, made)


def event_trigger(cloud: Cloud, project: str) -> Json:
    """Make the trigger, which an HTTP function has not."""
    filters = dict(pair.split("=", 1) for pair in cloud.flags["--trigger-event-filters"])
    place = f"projects/{project}/locations/{cloud.flag('--trigger-location')}"
    trigger = f"{place}/triggers/{cloud.arguments[0]}-312046"
    if (found := cloud.state["buckets"].get(f"gs://{filters['bucket']}")) is None:
        raise Failed(f'OperationError: code=9, message=Bucket "{filters["bucket"]}" does not exist')
    if found["location"].lower() != cloud.flag("--trigger-location"):
        raise Failed(
            f"OperationError: code=3, message=Validation failed for trigger {trigger}: The request"
            " was invalid: Bucket location does not match trigger location."
        )
    agent = f"serviceAccount:service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
    if agent not in cloud.holds("project", "roles/pubsub.publisher"):
        raise Failed(f"OperationError: code=7, message={NO_PUBLISHER.format(trigger=trigger)}")
    if fault := next((f for f in cloud.state["faults"] if f["words"] == "eventarc"), None):
        spend(fault, cloud.state["faults"])
        raise Failed(f"OperationError: code=7, message={NOT_READY.format(trigger=trigger)}")
    subscription = f"projects/{project}/subscriptions/eventarc-us-{cloud.arguments[0]}-sub-842"
    cloud.state["triggers"][trigger] = {"transport": {"pubsub": {"subscription": subscription}}}
    cloud.state["subscriptions"].setdefault(subscription.rpartition("/")[2], {})
    retry = "RETRY" if "--retry" in cloud.flags else "DO_NOT_RETRY"
    return {"eventTrigger": {"trigger": trigger, "retryPolicy": f"RETRY_POLICY_{retry}"}}


@command(
    "gcloud",
    "functions delete",
    "--gen2 --project= --region= --quiet",
    changes=True,
    api="cloudfunctions",
)
def _(cloud: Cloud) -> None:
    found = function(cloud)
    trigger = cloud.state["triggers"].pop(get(found, "eventTrigger.trigger"), None)
    if trigger:
        del cloud.state["subscriptions"][
            column(trigger, "transport.pubsub.subscription.basename()")
        ]
    del cloud.state["functions"][found["name"]]
    cloud.state["policies"].pop(f"services/{cloud.arguments[0]}", None)
    told(f"Deleted [{found['name']}].")


@command(
    "gcloud",
    "run services add-iam-policy-binding",
    "--project= --region= --member= --role= --format=",
    changes=True,
    api="run",
)
def _(cloud: Cloud) -> None:
    function(cloud)
    cloud.bind(f"services/{cloud.arguments[0]}", cloud.flag("--member"), cloud.flag("--role"))
    told(f"Updated IAM policy for service [{cloud.arguments[0]}].")


@command("gcloud", "run services get-iam-policy", "--project= --region= --format=", api="run")
def _(cloud: Cloud) -> None:
    function(cloud)
    show_policy(cloud, f"services/{cloud.arguments[0]}")


def job_name(cloud: Cloud) -> str:
    """Give a job's full name."""
    place = f"projects/{cloud.flag('--project')}/locations/{cloud.flag('--location')}"
    return f"{place}/jobs/{cloud.arguments[0]}"


def job(cloud: Cloud) -> Json:
    """Give the job which the command names."""
    if job_name(cloud) not in cloud.state["jobs"]:
        raise Failed(f"NOT_FOUND: Job not found. {WHO}")
    found: Json = cloud.state["jobs"][job_name(cloud)]
    return found


def set_job(cloud: Cloud, found: Json) -> None:
    """Give a job what the options say."""
    schedule, uri = cloud.flag("--schedule"), cloud.flag("--uri")
    if len(schedule.split()) != 5:
        raise Failed("INVALID_ARGUMENT: Schedule or time zone is invalid.")
    if not (parts := re.fullmatch(r"(https://[^/]+)(/.*)?", uri)):
        raise Failed("INVALID_ARGUMENT: HttpTarget.uri must be a valid URL.")
    cloud.need_member(cloud.flag("--oidc-service-account-email"))
    token = {
        "serviceAccountEmail": cloud.flag("--oidc-service-account-email"),
        "audience": cloud.flag("--oidc-token-audience"),
    }
    found |= {
        "schedule": schedule,
        "timeZone": cloud.flag("--time-zone", "Etc/UTC"),
        "attemptDeadline": cloud.flag("--attempt-deadline", "180s"),
        "retryConfig": {"retryCount": int(cloud.flag("--max-retry-attempts", "0"))},
        "httpTarget": {
            "httpMethod": cloud.flag("--http-method", "POST"),
            "uri": f"{parts[1]}{parts[2] or '/'}",
            "oidcToken": token,
        },
    }
    show(cloud, found)


JOB = (
    "--location= --project= --schedule= --time-zone= --uri= --http-method= --attempt-deadline="
    " --oidc-service-account-email= --oidc-token-audience= --max-retry-attempts= --format="
)


@command(
    "gcloud", "scheduler jobs describe", "--location= --project= --format=", api="cloudscheduler"
)
def _(cloud: Cloud) -> None:
    show(cloud, job(cloud))


@command("gcloud", "scheduler jobs create http", JOB, changes=True, api="cloudscheduler")
def _(cloud: Cloud) -> None:
    name = job_name(cloud)
    if name in cloud.state["jobs"]:
        raise Failed(f"ALREADY_EXISTS: Job [{name}] already exists.")
    made: Json = {"name": name, "state": "ENABLED"}
    set_job(cloud, made)
    cloud.state["jobs"][name] = made


@command("gcloud", "scheduler jobs update http", JOB, changes=True, api="cloudscheduler")
def _(cloud: Cloud) -> None:
    set_job(cloud, job(cloud))


@command(
    "gcloud",
    "scheduler jobs delete",
    "--location= --project= --quiet",
    changes=True,
    api="cloudscheduler",
)
def _(cloud: Cloud) -> None:
    del cloud.state["jobs"][job(cloud)["name"]]
    told("Deleted job.")


@command(
    "gcloud",
    "eventarc triggers describe",
    "--location= --project= --format=",
    api="eventarc",
)
def _(cloud: Cloud) -> None:
    if cloud.arguments[0] not in cloud.state["triggers"]:
        raise Failed(f"NOT_FOUND: Resource '{cloud.arguments[0]}' was not found. {WHO}")
    show(cloud, cloud.state["triggers"][cloud.arguments[0]])


@command("gcloud", "logging metrics describe", "--project= --format=", api="logging")
def _(cloud: Cloud) -> None:
    if cloud.arguments[0] not in cloud.state["metrics"]:
        raise Failed(f"NOT_FOUND: Metric {cloud.arguments[0]} does not exist. {WHO}")
    show(cloud, cloud.state["metrics"][cloud.arguments[0]])


@command(
    "gcloud",
    "logging metrics create",
    "--project= --description= --log-filter=",
    changes=True,
    api="logging",
)
def _(cloud: Cloud) -> None:
    [name] = cloud.arguments
    if name in cloud.state["metrics"]:
        raise Failed(f"ALREADY_EXISTS: Metric {name} already exists.")
    cloud.state["metrics"][name] = {"filter": cloud.flag("--log-filter")}
    told(f"Created [{name}].")


@command(
    "gcloud", "logging read", "--project= --freshness= --limit= --order= --format=", api="logging"
)
def _(cloud: Cloud) -> None:
    lines = cloud.state["lines"]
    if "severity>=ERROR" in cloud.arguments[0]:
        lines = [line for line in lines if line["severity"] == "ERROR"]
    newest_first = sorted(lines, key=lambda line: str(line["timestamp"]), reverse=True)
    show(cloud, *newest_first[: int(cloud.flag("--limit", "1000000"))])


def topic_or_subscription(cloud: Cloud) -> tuple[str, str]:
    """Give which of the two, and its name."""
    kind, name = cloud.path.split()[1], cloud.arguments[0].rpartition("/")[2]
    if name not in cloud.state[kind]:
        raise Failed(f"NOT_FOUND: Resource not found (resource={name}). {WHO}")
    return kind, name


def _pubsub_describe(cloud: Cloud) -> None:
    kind, name = topic_or_subscription(cloud)
    full = f"projects/{cloud.flag('--project')}/{kind}/{name}"
    show(cloud, {"name": full, **cloud.state[kind][name]})


def _pubsub_get_policy(cloud: Cloud) -> None:
    kind, name = topic_or_subscription(cloud)
    show_policy(cloud, f"{kind}/{name}")


def _pubsub_bind(cloud: Cloud) -> None:
    kind, name = topic_or_subscription(cloud)
    cloud.bind(f"{kind}/{name}", cloud.flag("--member"), cloud.flag("--role"))
    told(f"Updated IAM policy for {kind[:-1]} [{name}].")


for _kind in ("topics", "subscriptions"):
    command("gcloud", f"pubsub {_kind} describe", "--project= --format=", api="pubsub")(
        _pubsub_describe
    )
    command("gcloud", f"pubsub {_kind} get-iam-policy", "--project= --format=", api="pubsub")(
        _pubsub_get_policy
    )
    command(
        "gcloud",
        f"pubsub {_kind} add-iam-policy-binding",
        "--project= --member= --role= --format=",
        changes=True,
        api="pubsub",
    )(_pubsub_bind)


@command("gcloud", "pubsub topics create", "--project=", changes=True, api="pubsub")
def _(cloud: Cloud) -> None:
    [name] = cloud.arguments
    if name in cloud.state["topics"]:
        raise Failed(f"Resource already exists in the project (resource={name}).")
    cloud.state["topics"][name] = {}
    told(f"Created topic [projects/{cloud.flag('--project')}/topics/{name}].")


@command(
    "gcloud",
    "pubsub subscriptions create",
    "--project= --topic= --message-retention-duration= --expiration-period=",
    changes=True,
    api="pubsub",
)
def _(cloud: Cloud) -> None:
    [name] = cloud.arguments
    topic = cloud.flag("--topic").rpartition("/")[2]
    if topic not in cloud.state["topics"]:
        raise Failed(f"NOT_FOUND: Resource not found (resource={topic}). {WHO}")
    if name in cloud.state["subscriptions"]:
        raise Failed(f"Resource already exists in the project (resource={name}).")
    cloud.state["subscriptions"][name] = {
        "topic": f"projects/{cloud.flag('--project')}/topics/{topic}",
        "messageRetentionDuration": cloud.flag("--message-retention-duration"),
        "expirationPolicy": cloud.flag("--expiration-period"),
    }
    told(f"Created subscription [projects/{cloud.flag('--project')}/subscriptions/{name}].")


@command(
    "gcloud",
    "pubsub subscriptions update",
    "--project= --dead-letter-topic= --max-delivery-attempts=",
    changes=True,
    api="pubsub",
)
def _(cloud: Cloud) -> None:
    _, name = topic_or_subscription(cloud)
    topic = cloud.flag("--dead-letter-topic")
    if topic.rpartition("/")[2] not in cloud.state["topics"]:
        raise Failed(f"NOT_FOUND: Resource not found (resource={topic}). {WHO}")
    attempts = int(cloud.flag("--max-delivery-attempts", "5"))
    if not 5 <= attempts <= 100:  # Pub/Sub's limits
        raise Failed("INVALID_ARGUMENT: max-delivery-attempts must be between 5 and 100.")
    cloud.state["subscriptions"][name]["deadLetterPolicy"] = {
        "deadLetterTopic": topic,
        "maxDeliveryAttempts": attempts,
    }
    told(f"Updated subscription [projects/{cloud.flag('--project')}/subscriptions/{name}].")


@command(
    "gcloud", "alpha monitoring policies list", "--project= --filter= --format=", api="monitoring"
)
def _(cloud: Cloud) -> None:
    show(cloud, *cloud.state["alerts"].values())


@command(
    "gcloud",
    "alpha monitoring policies create",
    "--project= --policy-from-file= --notification-channels= --format=",
    changes=True,
    api="monitoring",
)
def _(cloud: Cloud) -> None:
    policy = json.loads(Path(cloud.flag("--policy-from-file")).read_text())
    metric = re.search(
        r'logging\.googleapis\.com/user/([^"]*)"',
        policy["conditions"][0]["conditionThreshold"]["filter"],
    )
    if metric and metric[1] not in cloud.state["metrics"]:
        raise Failed(NO_METRIC.format(metric=metric[1]))
    name = f"projects/{cloud.flag('--project')}/alertPolicies/{7_000 + len(cloud.state['alerts'])}"
    channels = list(filter(None, cloud.flag("--notification-channels").split(",")))
    cloud.state["alerts"][name] = {"name": name, **policy, "notificationChannels": channels}
    told(f"Created alert policy [{name}].")


@command(
    "gcloud",
    "alpha monitoring policies update",
    "--project= --add-notification-channels= --set-notification-channels= --policy-from-file=",
    changes=True,
    api="monitoring",
)
def _(cloud: Cloud) -> None:
    [name] = cloud.arguments
    if name not in cloud.state["alerts"]:
        raise Failed(f"NOT_FOUND: {name} not found. {WHO}")
    alert = cloud.state["alerts"][name]
    if file := cloud.flag("--policy-from-file"):
        alert |= {**json.loads(Path(file).read_text()), "notificationChannels": []}
    alert["notificationChannels"] += filter(
        None, cloud.flag("--set-notification-channels").split(",")
    )
    alert["notificationChannels"] += filter(
        None, cloud.flag("--add-notification-channels").split(",")
    )


# --- bq -------------------------------------------------------------------------------------------

BQ = "--headless --project_id= --format= --quiet"
LEGACY_ROLES = {
    "roles/bigquery.dataOwner": "OWNER",
    "roles/bigquery.dataEditor": "WRITER",
    "roles/bigquery.dataViewer": "READER",
}


@command("bq", "show", f"{BQ} --schema --view --dataset", api="bigquery")
def _(cloud: Cloud) -> None:
    kind, name = dataset_or_table(cloud)
    found = cloud.state[kind][name]
    if "--schema" in cloud.flags:
        found = found["schema"]["fields"]
    if cloud.flag("--format") != "json":
        raise Unknown(f"bq show --format={cloud.flag('--format')}")
    say(json.dumps(found, separators=(",", ":")))


def dataset_or_table(cloud: Cloud) -> tuple[str, str]:
    """Give which of the two, and its name."""
    project, _, name = cloud.arguments[-1].rpartition(":")
    cloud.need_project(project or cloud.flag("--project_id"))
    kind = "tables" if "." in name else "datasets"
    dataset = name.partition(".")[0]
    if dataset not in cloud.state["datasets"]:
        raise Failed(f"Not found: Dataset {project}:{dataset}", 2)
    if name not in cloud.state[kind]:
        raise Failed(f"Not found: {kind[:-1].capitalize()} {project}:{name}", 2)
    return kind, name


@command(
    "bq", "mk", f"{BQ} --dataset --location= --description= --force", changes=True, api="bigquery"
)
def _(cloud: Cloud) -> None:
    project, _, name = cloud.arguments[0].rpartition(":")
    cloud.need_project(project)
    if name in cloud.state["datasets"]:
        raise Failed(f"Dataset '{project}:{name}' already exists.")
    cloud.state["datasets"][name] = {
        "kind": "bigquery#dataset",
        "id": f"{project}:{name}",
        "description": cloud.flag("--description"),
        "location": cloud.flag("--location"),
        "access": [
            {"role": "WRITER", "specialGroup": "projectWriters"},
            {"role": "OWNER", "specialGroup": "projectOwners"},
            {"role": "OWNER", "userByEmail": ACCOUNT},
            {"role": "READER", "specialGroup": "projectReaders"},
        ],
    }
    say(f"Dataset '{project}:{name}' successfully created.")


@command("bq", "update", f"{BQ} --source= --dataset", changes=True, api="bigquery")
def _(cloud: Cloud) -> None:
    kind, name = dataset_or_table(cloud)
    if kind != "datasets":
        raise Failed("table update does not support --source.")
    found = cloud.state["datasets"][name]
    wanted = json.loads(Path(cloud.flag("--source")).read_text())
    for entry in wanted["access"]:
        email = entry.get("userByEmail", "")
        if email.endswith(".iam.gserviceaccount.com"):
            cloud.need_member(email)
        # BigQuery takes these, and shows the others.
        entry["role"] = LEGACY_ROLES.get(entry["role"], entry["role"])
    found["access"] = wanted["access"]
    say(f"Dataset '{found['id']}' successfully updated.")


@command("bq", "get-iam-policy", f"{BQ} --table", api="bigquery")
def _(cloud: Cloud) -> None:
    kind, name = dataset_or_table(cloud)
    bindings = cloud.state["policies"].get(f"{kind}/{name}")
    policy = {**({"bindings": bindings} if bindings else {}), "etag": "ACAB", "version": 1}
    say(json.dumps(policy, separators=(",", ":")))


@command(
    "bq",
    "add-iam-policy-binding",
    f"{BQ} --table --member= --role= --condition=",
    changes=True,
    api="bigquery",
)
def _(cloud: Cloud) -> None:
    kind, name = dataset_or_table(cloud)
    member, role = cloud.flag("--member"), cloud.flag("--role")
    cloud.bind(f"{kind}/{name}", member, role)
    say(
        f"Successfully added member '{member}' to role '{role}' in IAM policy for {kind[:-1]}"
        f" '{cloud.arguments[0]}':\n"
    )
    say(json.dumps({"bindings": cloud.state["policies"][f"{kind}/{name}"]}, indent=2))


@command(
    "bq", "query", f"{BQ} --use_legacy_sql= --max_rows= --location=", changes=True, api="bigquery"
)
def _(cloud: Cloud) -> None:
    if cloud.flag("--use_legacy_sql") != "false":
        raise Unknown("legacy SQL")
    for statement in cloud.arguments[0].split(";\n"):
        if re.search(r"\w", statement):
            carry_out(cloud, statement.strip().removesuffix(";"))


def carry_out(cloud: Cloud, statement: str) -> None:
    """Carry out one statement of SQL."""
    verb = re.match(
        r"(CREATE TABLE IF NOT EXISTS|ALTER TABLE|CREATE OR REPLACE VIEW|SELECT COUNT\(\*\) FROM)"
        r" `([^`]+)\.(\w+)\.([\w-]+)`",
        statement,
    )
    if not verb:
        raise Unknown(statement)
    action, project, dataset, name = verb.groups()
    table = f"{dataset}.{name}"
    cloud.need_project(project)
    if dataset not in cloud.state["datasets"]:
        raise not_found_by_a_job(project, f"Dataset {project}:{dataset}")
    if action[:5] in {"ALTER", "SELEC"} and table not in cloud.state["tables"]:
        raise not_found_by_a_job(project, f"Table {project}:{table}")
    match action[:5]:
        case "SELEC":
            cloud.state["row_after"] -= 1
            say(f"f0_\n{int(cloud.state['row_after'] == 0)}")
            return
        case "CREAT" if "VIEW" in action:
            query = statement.partition("\nAS\n")[2]
            for source in re.findall(rf"`{re.escape(project)}\.(\w+\.[\w-]+)`", query):
                if source not in cloud.state["tables"]:
                    raise not_found_by_a_job(project, f"Table {project}:{source}")
            cloud.state["tables"][table] = {"type": "VIEW", "view": {"query": query}}
        case _:
            made = cloud.state["tables"].setdefault(
                table, {"type": "TABLE", "schema": {"fields": []}}
            )
            add_columns(made["schema"]["fields"], statement)
    say(f"Replaced {project}.{table}\n")


def not_found_by_a_job(project: str, what: str) -> Failed:
    job = f"{project}:bqjob_r3f338b52d000707c_000001a2069926c8_1"
    return Failed(
        f"Error processing job '{job}': Not found: {what} was not found in location US", 2
    )


def add_columns(fields: list[Json], statement: str) -> None:
    """Add the columns which a statement defines, if the table was not there, or has them not."""
    create = statement.startswith("CREATE")
    if create and fields:
        return
    for name, kind, required in re.findall(
        r"^  (?:ADD COLUMN IF NOT EXISTS )?([a-z0-9_]+) ([A-Z0-9]+)( NOT NULL)?",
        statement,
        re.MULTILINE,
    ):
        if name not in [field["name"] for field in fields]:
            mode = "REQUIRED" if required else "NULLABLE"
            fields.append({"name": name, "mode": mode, "type": kind})


# --- What goes wrong ------------------------------------------------------------------------------


def spend(fault: Json, faults: list[Json]) -> None:
    """Use up one time of a fault."""
    fault["times"] -= 1
    if fault["times"] == 0:
        faults.remove(fault)


def fault_of(cloud: Cloud, *, changes: bool) -> str:
    """Give what goes wrong with this command: the first fault that is meant for it."""
    line = " ".join([cloud.tool, cloud.path, *cloud.words])
    for fault in cloud.state["faults"]:
        if fault["words"] == "eventarc" or (fault.get("changes") and not changes):
            continue
        if fault["command"] not in line:
            continue
        if fault.get("after", 0):
            fault["after"] -= 1
            continue
        spend(fault, cloud.state["faults"])
        return str(fault["words"])
    return ""


def words_of(cloud: Cloud, fault: str) -> str:
    """Give the real tools' words for what went wrong."""
    target = cloud.arguments[-1] if cloud.arguments else "?"
    table = target.replace(":", ".")
    bq_denied = (
        f"Access Denied: Table {target}: Permission denied on table {table} (or it may not exist)."
    )
    if cloud.path == "query":
        table = "`".join(cloud.arguments[0].split("`")[1:2])
        bq_denied = (
            f"Access Denied: Table {table}: User does not have permission to query table {table},"
            " or perhaps it does not exist."
        )
    member = (cloud.flag("--member") or f":{newest_member(cloud)}").partition(":")[2]
    words = {
        "denied": bq_denied
        if cloud.tool == "bq"
        else f"PERMISSION_DENIED: The caller does not have permission. {WHO}",
        "not found": f"NOT_FOUND: Requested entity was not found. {WHO}",
        "unavailable": "UNAVAILABLE: The service is currently unavailable.",
        "not visible": f"NOT_FOUND: Unknown service account. {WHO}"
        if cloud.path.startswith("iam")
        else (
            f"{'INVALID_ARGUMENT: ' if cloud.tool == 'gcloud' else ''}Service account {member} does"
            " not exist."
        ),
        "concurrent": (
            "ABORTED: There were concurrent policy changes. Please retry the whole"
            " read-modify-write with exponential backoff. The request's ETag '\\007\\006\\034' did"
            " not match the current policy's ETag '\\007\\006\\035'."
        ),
        "bucket not validated": (
            "OperationError: code=7, message=Validation failed for trigger projects/p/locations/l/"
            'triggers/t: Permission "storage.buckets.get" denied on "Bucket \\"b\\" could not be'
            " validated. Please verify that the bucket exists and that the Eventarc service account"
            ' has permission."'
        ),
        "metric": NO_METRIC.format(metric="m"),
    }
    return words[fault]


def newest_member(cloud: Cloud) -> str:
    """Give the account which `bq update --source` is about."""
    file = cloud.flag("--source") if cloud.tool == "bq" else ""
    if not file:
        return "?"
    return str(json.loads(Path(file).read_text())["access"][0].get("userByEmail", "?"))


# --- Running --------------------------------------------------------------------------------------


def parse(cloud: Cloud, options: list[str], words: list[str]) -> None:
    """Tell options from arguments; an option that is not known is an error."""
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            cloud.arguments.append(word)
            continue
        name, equals, value = word.partition("=")
        if equals and f"{name}=" in options:
            pass
        elif not equals and name in options:
            value = "yes"
        elif not equals and f"{name}=" in options:
            value = next(rest)
        else:
            raise Unknown(word)
        cloud.flags.setdefault(name, []).append(value)


def find(cloud: Cloud) -> tuple[Command, bool, str]:
    """Find the command in the table, and parse its options."""
    words = cloud.words
    names = [word for word in words if not word.startswith("--")]
    for length in range(min(4, len(names)), 0, -1):
        path = " ".join(names[:length])
        if (cloud.tool, path) in COMMANDS:
            function, changes, api, options = COMMANDS[cloud.tool, path]
            cloud.path = path
            rest = list(words)
            for name in names[:length]:
                rest.remove(name)
            parse(cloud, options, rest)
            if path == "query":
                changes = not cloud.arguments[0].startswith("SELECT")
            return function, changes, api
    raise Unknown("the command")


def may_hang(cloud: Cloud) -> bool:
    """Whether the tool might wait for an answer."""
    if os.environ.get("CLOUD_BY_HAND"):  # somebody is there
        return False
    if cloud.tool == "bq":
        return "--headless" not in cloud.flags
    silent = os.environ.get("CLOUDSDK_CORE_DISABLE_PROMPTS") == "1"
    return not silent and "--quiet" not in cloud.flags


def check(cloud: Cloud, *, changes: bool, api: str) -> None:
    """Check what stands before each command; what is on this machine asks nobody."""
    if may_hang(cloud):
        raise Unknown("may ask something, and wait")
    if cloud.path in LOCAL:
        return
    if not cloud.state["account"]:
        raise Failed(NOBODY)
    if fault := fault_of(cloud, changes=changes):
        raise Failed(words_of(cloud, fault))
    for project in (cloud.flag("--project"), cloud.flag("--project_id")):
        cloud.need_project(project or cloud.state["project"])
    if cloud.path.startswith("projects "):
        cloud.need_project(cloud.arguments[0])
    if api:
        cloud.need_api(api)


def run(cloud: Cloud) -> tuple[int, bool]:
    """Carry the command out; give its exit status, and whether it is one that changes something."""
    changes = False
    try:
        function, changes, api = find(cloud)
        check(cloud, changes=changes, api=api)
        function(cloud)
    except Failed as failure:
        return fail(cloud, failure), changes
    except Unknown as unknown:
        line = " ".join([cloud.tool, *cloud.words])
        cloud.state["unknown"].append(f"{line}: {unknown}")
        told(f"tests/cloud.py does not know: {line}: {unknown}")
        return 99, changes
    return 0, changes


def fail(cloud: Cloud, failure: Failed) -> int:
    """Print an error as the tool does: bq on standard output, and wrapped."""
    if cloud.tool == "gcloud":
        if cloud.path.endswith("add-iam-policy-binding") and "exist." in failure.words:
            told(
                "ERROR: Policy modification failed. For a binding with condition, run"
                ' "gcloud alpha iam policies lint-condition" to identify issues in condition.'
            )
        told(f"ERROR: (gcloud.{cloud.path.replace(' ', '.')}) {failure.words}")
    else:
        words = failure.words.removeprefix("INVALID_ARGUMENT: ")
        say(textwrap.fill(f"BigQuery error in {cloud.path} operation: {words}", 80))
    return failure.status


def record(name: str, entry: Json) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{json.dumps(entry)}\n")


def main(tool: str, *words: str) -> NoReturn:
    """Be the tool."""
    if tool == "sleep":
        record("commands.jsonl", {"tool": tool, "words": words, "changes": False, "status": 0})
        time.sleep(float(os.environ.get("CLOUD_SLEEP", "0")))
        sys.exit()
    cloud = Cloud(tool, list(words))
    status, changes = run(cloud)
    (FOLDER / "state.json").write_text(json.dumps(cloud.state))
    entry = {"tool": tool, "words": words, "changes": changes, "status": status}
    record("commands.jsonl", entry)
    if changes and status == 0:
        record("states.jsonl", cloud.state)
    sys.exit(status)
