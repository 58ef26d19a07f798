"""Cloud Scheduler."""

import re

from tests.cloud.call import WHO, Call, command
from tests.cloud.kinds import Kind
from tests.cloud.project import Failed, Json


def make_job(call: Call) -> Json:
    if len(call.flag("--schedule").split()) != 5:
        raise Failed("INVALID_ARGUMENT: Schedule or time zone is invalid.")
    if not (parts := re.fullmatch(r"(https://[^/]+)(/.*)?", call.flag("--uri"))):
        raise Failed("INVALID_ARGUMENT: HttpTarget.uri must be a valid URL.")
    account = call.flag("--oidc-service-account-email")
    call.need_member(f"serviceAccount:{account}")
    token = {"serviceAccountEmail": account, "audience": call.flag("--oidc-token-audience")}
    return {
        "name": call.arguments[0],
        "schedule": call.flag("--schedule"),
        "timeZone": call.flag("--time-zone"),
        "attemptDeadline": call.flag("--attempt-deadline"),
        "retryConfig": {"retryCount": call.flag("--max-retry-attempts")},
        "httpTarget": {
            "httpMethod": call.flag("--http-method"),
            "uri": f"{parts[1]}{parts[2] or '/'}",
            "oidcToken": token,
        },
    }


JOBS = Kind(
    group="scheduler jobs",
    state="jobs",
    api="cloudscheduler",
    place="--location= --project=",
    missing=f"NOT_FOUND: Job not found. {WHO}",
    make=make_job,
    create="create http",
    options="--schedule= --time-zone= --uri= --http-method= --attempt-deadline="
    " --oidc-service-account-email= --oidc-token-audience= --max-retry-attempts=",
).register()


@command("scheduler jobs update http", f"{JOBS.place} --format= {JOBS.options}", api=JOBS.api)
def _(call: Call) -> None:
    JOBS.find(call).update(make_job(call))


@command("scheduler jobs delete", f"{JOBS.place} --quiet", api=JOBS.api)
def _(call: Call) -> None:
    JOBS.find(call)
    del call.state["jobs"][call.arguments[0]]
