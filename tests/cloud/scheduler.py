"""Cloud Scheduler."""

import re

from tests.cloud.call import WHO, Call, command
from tests.cloud.project import Failed

OPTIONS = (
    "--location= --project= --schedule= --time-zone= --uri= --http-method= --attempt-deadline="
    " --oidc-service-account-email= --oidc-token-audience= --max-retry-attempts= --format="
)
MISSING = f"NOT_FOUND: Job not found. {WHO}"


def set_job(call: Call) -> None:
    """Make a job, or replace it, by the options."""
    if len(call.flag("--schedule").split()) != 5:
        raise Failed("INVALID_ARGUMENT: Schedule or time zone is invalid.")
    if not (parts := re.fullmatch(r"(https://[^/]+)(/.*)?", call.flag("--uri"))):
        raise Failed("INVALID_ARGUMENT: HttpTarget.uri must be a valid URL.")
    account = call.flag("--oidc-service-account-email")
    call.need_member(f"serviceAccount:{account}")
    call.state["jobs"][call.arguments[0]] = {
        "name": call.arguments[0],
        "schedule": call.flag("--schedule"),
        "timeZone": call.flag("--time-zone", "Etc/UTC"),
        "attemptDeadline": call.flag("--attempt-deadline", "180s"),
        "retryConfig": {"retryCount": int(call.flag("--max-retry-attempts", "0"))},
        "httpTarget": {
            "httpMethod": call.flag("--http-method", "POST"),
            "uri": f"{parts[1]}{parts[2] or '/'}",
            "oidcToken": {
                "serviceAccountEmail": account,
                "audience": call.flag("--oidc-token-audience"),
            },
        },
    }


@command("scheduler jobs create http", OPTIONS, api="cloudscheduler")
def _(call: Call) -> None:
    if call.arguments[0] in call.state["jobs"]:
        raise Failed(f"ALREADY_EXISTS: Job [{call.arguments[0]}] already exists.")
    set_job(call)


@command("scheduler jobs update http", OPTIONS, api="cloudscheduler")
def _(call: Call) -> None:
    call.find("jobs", MISSING)
    set_job(call)


@command("scheduler jobs delete", "--location= --project= --quiet", api="cloudscheduler")
def _(call: Call) -> None:
    call.find("jobs", MISSING)
    del call.state["jobs"][call.arguments[0]]
    call.say("Deleted job.")
