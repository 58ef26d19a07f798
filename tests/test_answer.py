"""What the scripts read in an error of gcloud or bq: its status, wherever other words stand."""

import subprocess
from collections.abc import Callable

import pytest

from tests import ROOT

SDK = "ERROR: (gcloud.some.command) "
WHO = (
    "This command is authenticated as permissions@example.com which is the active account specified"
    " by the [core/account] property."
)


@pytest.fixture(scope="session")
def answer() -> Callable[[str, str], str]:
    """Returns a function that calls one of deploy/lib/answer.sh on what a tool has printed."""

    def call(function: str, text: str) -> str:
        code = f'source deploy/lib/answer.sh; answer::{function} "$(answer::reason "$1")"'
        command = ["bash", "-euo", "pipefail", "-c", code, "bash", text]
        return subprocess.run(
            command, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()

    return call


@pytest.mark.parametrize(
    ("text", "status"),
    [
        # Not there; also if other words say something else.
        (f"{SDK}NOT_FOUND: Unknown service account. {WHO}", "NOT_FOUND"),
        (f"{SDK}NOT_FOUND: Topic denied-403-permission not found.", "NOT_FOUND"),
        (f"{SDK}gs://denied-models-dev not found: 404.", "NOT_FOUND"),
        (f"{SDK}ResponseError: status=[404], code=[Ok], message=[f was not found]", "NOT_FOUND"),
        (f"{SDK}HTTPError 404: The specified bucket does not exist.", "NOT_FOUND"),
        (f"{SDK}Services [permission] not found: it is not there", "NOT_FOUND"),
        (f"{SDK}Cannot find service [denied]", "NOT_FOUND"),
        (f"{SDK}The following URLs matched no objects or files:\n-gs://denied/x", "NOT_FOUND"),
        ("BigQuery error in show operation: Not found: Dataset p:permission", "NOT_FOUND"),
        (
            (
                "BigQuery error in query operation: Error processing job\n'p:bqjob_r3_1': Not"
                " found: Table p:d.denied was\nnot found in location US"
            ),
            "NOT_FOUND",
        ),
        ("Error in query string: Query error: Not found: Table p:d.t at [1:1]", "NOT_FOUND"),
        # Not allowed; also if it may not exist.
        (f"{SDK}PERMISSION_DENIED: The caller does not have permission. {WHO}", "DENIED"),
        (
            (
                f"{SDK}[me@example.com] does not have permission to access b instance [m] (or it"
                f" may not exist): it was not found. {WHO}"
            ),
            "DENIED",
        ),
        (f"{SDK}HTTPError 403: me@example.com does not have storage.buckets.get", "DENIED"),
        (f"{SDK}ResponseError: status=[403], code=[Forbidden], message=[404]", "DENIED"),
        (
            (
                "BigQuery error in query operation: Access Denied: Table p:d.t: User does not"
                " have\npermission to query table p:d.t, or perhaps it does not exist."
            ),
            "DENIED",
        ),
        (
            (
                f"{SDK}PERMISSION_DENIED: Eventarc API has not been used in project 123 before"
                " or it is disabled.\n- '@type': type.googleapis.com/google.rpc.ErrorInfo\n"
                "  reason: SERVICE_DISABLED"
            ),
            "DISABLED",
        ),
        # There already.
        (f"{SDK}Resource in projects [p] is the subject of a conflict: it exists.", "EXISTS"),
        (f"{SDK}ResponseError: status=[409], code=[Ok], message=[f already exists]", "EXISTS"),
        (f"{SDK}HTTPError 409: The requested bucket name is not available.", "EXISTS"),
        ("BigQuery error in mk operation: Already Exists: Dataset p:d", "EXISTS"),
        # Worth trying again.
        (f"{SDK}RESOURCE_EXHAUSTED: Quota exceeded. {WHO}", "BUSY"),
        (f"{SDK}Too Many Requests: slow down", "BUSY"),
        (f"{SDK}HTTPError 503: Please try again.", "BUSY"),
        (f"{SDK}HTTPError 412: At least one of the pre-conditions did not hold.", "BUSY"),
        (f"{SDK}ABORTED: There were concurrent policy changes.", "BUSY"),
        (
            f"{SDK}Resource in projects [p] is the subject of a conflict: There were concurrent",
            "BUSY",
        ),
        (
            (
                f"{SDK}ResponseError: status=[409], code=[Conflict], message=[unable to queue the"
                " operation]"
            ),
            "BUSY",
        ),
        ("Some progress...\nBigQuery error in query operation: Exceeded rate limits: jobs", "BUSY"),
        # Everything else.
        (f"{SDK}INVALID_ARGUMENT: permission denied-404 was not found", ""),
        (f"{SDK}unrecognized arguments: --not-found", ""),
        ("Traceback (most recent call last):\n  PERMISSION_DENIED", ""),
        ("", ""),
    ],
)
def test_the_status_decides_and_no_word_elsewhere(
    text: str, status: str, answer: Callable[[str, str], str]
) -> None:
    assert answer("status", text) == status


def test_the_reason_is_one_line_without_what_came_before(
    answer: Callable[[str, str], str],
) -> None:
    """The tool bq breaks its lines, also after a dash."""
    text = (
        "Waiting...\nBigQuery error in query operation: Error processing job\n'p:job_1': Service"
        " account model-registry-\nbuild@p.iam.gserviceaccount.com does not exist.\n"
    )

    assert answer("reason", text) == (
        "Service account model-registry-build@p.iam.gserviceaccount.com does not exist."
    )
