"""What goes wrong, in the real tools' words."""

import copy
import dataclasses

from tests.cloud.call import WHO, Call, Run
from tests.cloud.monitoring import NO_METRIC
from tests.cloud.project import Failed

WORDS = {
    "denied": f"PERMISSION_DENIED: The caller does not have permission. {WHO}",
    "denied by bq": "Access Denied: Table p:d.t: User does not have permission to query table"
    " p:d.t, or perhaps it does not exist.",
    "unavailable": "UNAVAILABLE: The service is currently unavailable.",
    "not visible": "INVALID_ARGUMENT: Service account a@b.iam.gserviceaccount.com does not exist.",
    "not visible to iam": f"NOT_FOUND: Unknown service account. {WHO}",
    "concurrent": "ABORTED: There were concurrent policy changes. Please retry the whole"
    " read-modify-write with exponential backoff.",
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
        if fault.after:
            fault.after -= 1
            continue
        fault.times -= 1
        if not fault.times:
            call.project.faults.remove(fault)
        call.struck = would_change(call, command)
        by_tool = f"{fault.words} by {call.tool}"
        to_group = f"{fault.words} to {call.path.partition(' ')[0]}"
        raise Failed(WORDS.get(by_tool) or WORDS.get(to_group) or WORDS[fault.words])


def would_change(call: Call, command: Run) -> bool:
    trial = dataclasses.replace(call, state=copy.deepcopy(call.state))
    try:
        command(trial)
    except Failed:
        return False
    return trial.state != call.project.state
