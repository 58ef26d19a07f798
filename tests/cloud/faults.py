"""What goes wrong, in the real tools' words."""

import copy
import dataclasses

from tests.cloud.call import WHO, Call, Run
from tests.cloud.monitoring import NO_METRIC
from tests.cloud.project import Failed

EVENTARC = (
    "OperationError: code=7, message=Validation failed for trigger t: {}If you recently started to"
    " use Eventarc, it may take a few minutes before all necessary permissions are propagated to the"
    " Service Agent. Otherwise, verify that it has Eventarc Service Agent role."
)


def words_of(call: Call, fault: str) -> str:
    """Return what a tool says of a fault."""
    member = call.flag("--member").partition(":")[2] or "a@b.iam.gserviceaccount.com"
    bq_denied = (
        "Access Denied: Table p:d.t: User does not have permission to query table p:d.t, or perhaps"
        " it does not exist."
    )
    words = {
        "denied": bq_denied
        if call.tool == "bq"
        else f"PERMISSION_DENIED: The caller does not have permission. {WHO}",
        "unavailable": "UNAVAILABLE: The service is currently unavailable.",
        "not visible": f"NOT_FOUND: Unknown service account. {WHO}"
        if call.path.startswith("iam")
        else f"INVALID_ARGUMENT: Service account {member} does not exist.",
        "concurrent": (
            "ABORTED: There were concurrent policy changes. Please retry the whole"
            " read-modify-write with exponential backoff."
        ),
        "eventarc": EVENTARC.format(
            'Invalid resource state for "": Permission denied while using the Eventarc Service Agent. '
        ),
        "bucket not validated": EVENTARC.format(
            'Permission "storage.buckets.get" denied on "Bucket \\"b\\" could not be validated.'
            " Please verify that the bucket exists and that the Eventarc service account has"
            ' permission." '
        ),
        "metric": NO_METRIC.format(metric="m"),
    }
    return words[fault]


def strike(call: Call, command: Run) -> None:
    """Fail with the first fault that is meant for this command."""
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
        raise Failed(words_of(call, fault.words))


def would_change(call: Call, command: Run) -> bool:
    """Whether a command would change the project if it were carried out."""
    trial = dataclasses.replace(call, state=copy.deepcopy(call.state))
    try:
        command(trial)
    except Failed:
        return False
    return trial.state != call.project.state
