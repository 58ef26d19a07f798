"""What goes wrong, in the real tools' words."""

import dataclasses
import re

from tests.cloud.call import WHO, Call, Run
from tests.cloud.monitoring import NO_METRIC
from tests.cloud.project import Failed, copied

WORDS = {
    "denied": f"PERMISSION_DENIED: The caller does not have permission. {WHO}",
    "denied by bq": "Access Denied: Table p:d.t: User does not have permission to query table"
    " p:d.t, or perhaps it does not exist.",
    "unavailable": "UNAVAILABLE: The service is currently unavailable.",
    "unavailable by bq": "Could not connect with BigQuery server.",
    "unavailable to storage": "HTTPError 503: We encountered an internal error. Please try again.",
    "internal": "INTERNAL: Internal error encountered.",
    "internal by bq": "An internal error occurred and the request could not be completed.",
    "internal to functions": "OperationError: code=13, message=Internal error.",
    "quota": "RESOURCE_EXHAUSTED: Quota exceeded for quota metric 'Write requests' and limit 'Write"
    " requests per minute'.",
    "quota by bq": "Exceeded rate limits: too many api requests per user per method.",
    "quota to storage": "HTTPError 429: The rate of change requests to the bucket is too high.",
    "quota to functions": "ResponseError: status=[429], code=[Too Many Requests], message=[Quota"
    " exceeded]",
    "concurrent": "ABORTED: There were concurrent policy changes. Please retry the whole"
    " read-modify-write with exponential backoff.",
    "concurrent to projects": "Resource in projects [p] is the subject of a conflict: There were"
    " concurrent policy changes. Please retry the whole read-modify-write.",
    "concurrent by bq": "Quota exceeded: Your table exceeded quota for table update operations.",
    "concurrent to storage": "HTTPError 412: At least one of the pre-conditions did not hold.",
    "concurrent to functions": "ResponseError: status=[409], code=[Conflict], message=[unable to"
    " queue the operation]",
    "new API": "PERMISSION_DENIED: Eventarc API has not been used in project 123 before or it is"
    " disabled. Enable it by visiting https://console.developers.google.com/apis/api/"
    "eventarc.googleapis.com/overview?project=123 then retry. If you enabled this API recently,"
    " wait a few minutes for the action to propagate to our systems and retry.",
    "new API by bq": "Access Denied: BigQuery BigQuery: BigQuery API has not been used in project"
    " 123 before or it is disabled. Enable it by visiting https://console.developers.google.com/"
    "apis/api/bigquery.googleapis.com/overview?project=123 then retry.",
    "not visible": "INVALID_ARGUMENT: Service account {account} does not exist.",
    "not visible to functions": "ResponseError: status=[400], code=[Bad Request], message=[invalid"
    ' service account "{account}" provided]',
    "not visible to iam": f"NOT_FOUND: Unknown service account. {WHO}",
    "may not act": "ResponseError: status=[403], code=[Forbidden], message=[Permission"
    " 'iam.serviceaccounts.actAs' denied on service account {account} (or it may not exist).]",
    "may not act to scheduler": "PERMISSION_DENIED: The principal lacks IAM permission"
    ' "iam.serviceAccounts.actAs" for the resource "{account}" (or the resource may not exist).',
    "no sources": "OperationError: code=3, message=Build failed with status: FAILURE and message:"
    " Access to bucket gcf-v2-sources-1-us-central1 denied. You must grant Storage Object Viewer"
    " permission to {account}.",
    "no repository": "OperationError: code=7, message=Unable to retrieve the repository metadata"
    " for projects/p/locations/us-central1/repositories/gcf-artifacts.",
    "no image": "OperationError: code=7, message=Google Cloud Run Service Agent must have"
    " permission to read the image. If you just enabled the Cloud Run API, the permissions might"
    " take a few minutes to propagate.",
    "not in force": "OperationError: code=7, message=Creating trigger failed: Permission"
    ' "eventarc.events.receiveEvent" denied on "{account}"',
    "no role to build": "OperationError: code=7, message=Build failed: missing permission on the"
    " build service account. If this is a new role, wait.",
    "eventarc": "OperationError: code=7, message=Validation failed for trigger t: Invalid resource"
    ' state for "": Permission denied while using the Eventarc Service Agent. If you recently'
    " started to use Eventarc, it may take a few minutes before all necessary permissions are"
    " propagated to the Service Agent.",
    "bucket not validated": "OperationError: code=7, message=Validation failed for trigger t:"
    ' Permission "storage.buckets.get" denied on "Bucket \\"b\\" could not be validated. Please'
    ' verify that the bucket exists and that the Eventarc service account has permission."',
    "metric": NO_METRIC.format(metric="m"),
}


def strike(call: Call, command: Run) -> None:
    line = " ".join([call.tool, *call.words])
    for fault in call.project.faults:
        if fault.command not in line or (fault.changes and not would_change(call, command)):
            continue
        if fault.each:
            fault.seen[line] += 1
            if fault.seen[line] > fault.each:
                continue
            fault.times += 1
        if fault.after:
            fault.after -= 1
            continue
        fault.times -= 1
        if not fault.times:
            call.project.faults.remove(fault)
        call.struck = would_change(call, command)
        by_tool = f"{fault.words} by {call.tool}"
        to_group = f"{fault.words} to {call.path.partition(' ')[0]}"
        if fault.lost:
            command(call)
            call.lost = True
        words = WORDS.get(by_tool) or WORDS.get(to_group) or WORDS[fault.words]
        raise Failed(words.replace("{account}", account_in(line)))


def account_in(line: str) -> str:
    """Return the service account that a command is about."""
    found = re.findall(r"[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com", line)
    return found[-1] if found else "nobody"


def would_change(call: Call, command: Run) -> bool:
    trial = dataclasses.replace(call, state=copied(call.state))
    try:
        command(trial)
    except Failed:
        return False
    return trial.state != call.project.state
