"""What holds for every deploy script, as tables. They run on the double in tests/cloud/."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import PROJECT, ROOT
from tests.cloud import server
from tests.cloud.project import Json, new_state
from tests.conftest import EACH
from tests.servers.scripts import Cloud, at_once

ENVIRONMENTS = ["dev", "staging", "prod"]
ACME = {
    "GCP_PROJECT_ID": "example.com:acme",
    "REGION": "europe-west4",
    "BUCKET_PREFIX": "acme-models",
    "REGISTRY_TABLE": "acme_registry.uploads",
    "FUNCTION_PREFIX": "acme",
    "SERVICE_ACCOUNT_PREFIX": "acme-sa",
    "INVENTORY_SERVICE_ACCOUNT": "acme-reads",
    "RECONCILE_SERVICE_ACCOUNT": "acme-reconciles",
    "BUILD_SERVICE_ACCOUNT": "acme-builds",
    "DEPLOYER": "group:ops@example.com",
    "LINKS": "commit=https://git.example.com/{value} run=https://ml.example.com/?run={value}",
}
# Calls whose --dry-run is written down in tests/deploy/, with other settings than the defaults.
WRITTEN: list[tuple[str, dict[str, str]]] = [
    *((call, {}) for call in [*EACH, "setup", "staging", "prod", "monitoring"]),
    ("logs --errors inventory prod", {}),
    ("notify staging prod --topic model-ci --filter 'jsonPayload.outcome=\"registered\"'", {}),
    ("notify dev --stop", {}),
    ("replay dev --look", {}),
    ("reconcile prod staging --schedule '*/20 1-5 * * mon'", {}),
    *((call, ACME) for call in ["setup prod", "prod", "inventory", "reconcile prod"]),
]


def one_line(text: str) -> bool:
    return text.endswith("\n") and text.count("\n") == 1


@pytest.mark.parametrize("call", EACH[:-1])  # what is deleted cannot be deleted again
def test_a_second_run_changes_nothing_and_waits_for_nothing(
    cloud: Cloud, reached: dict[str, list[Json]], call: str
) -> None:
    before = cloud.twin(reached[call][-1])

    again = before.do(*call.split())

    deployed = [change for change in again.changes if "storage" not in change]
    assert (deployed, again.sleeps, before.state) == ([], [], reached[call][-1])
    assert re.findall("^# (?!Ready)", again.out, re.MULTILINE) == []


RESUMED = [call for call in EACH if not call.startswith("verify")]


@pytest.mark.parametrize("call", RESUMED)
def test_a_run_that_stops_anywhere_says_why_and_the_next_one_completes_it(
    cloud: Cloud, reached: dict[str, list[Json]], call: str
) -> None:
    """Denied at each change. The next run is also that after a kill between two changes."""
    *starts, end = reached[call]

    def stop(start: Json) -> None:
        twin = cloud.twin(start)
        twin.fault("denied", changes=True)
        ended = twin.run(*call.split())
        assert (ended.status, len(ended.changes), ended.sleeps) == (1, 1, []), ended.err
        assert re.search(r"PERMISSION_DENIED|Access\s+Denied", ended.err), ended.err
        assert "is deployed" not in ended.out
        assert twin.state == start
        again = twin.do(*call.split())
        if "keeps nothing that is overwritten" in again.out:  # it leaves a bucket that is there
            twin.state["buckets"]["gs://ml-models-dev"]["versioning"] = {"enabled": True}
        assert twin.state == end

    at_once(stop, starts)


@pytest.mark.parametrize("call", RESUMED)
def test_a_denied_look_is_not_taken_for_a_missing_resource(
    cloud: Cloud, reached: dict[str, list[Json]], call: str
) -> None:
    """Denied at each command that looks."""
    trial = cloud.twin(reached[call][0])
    trial.do(*call.split())
    asked = re.compile(f"gcloud (auth|config{'|pubsub' * (call == 'dev')}) |curl |sleep ")
    commands = [c for c in trial.project.commands if not asked.match(str(c))]
    looks = [at for at, command in enumerate(commands) if not command.changed]

    def blind(at: int) -> None:
        twin = cloud.twin(reached[call][0])
        twin.fault("denied", after=at)
        ended = twin.run(*call.split())
        assert ended.status == 1, commands[at]
        assert re.search("denied|in another project", ended.err.lower())
        assert str(ended.commands[-1]) == str(commands[at])

    at_once(blind, looks)


# --- Answers that are worth waiting for -----------------------------------------------------------

BUSY = ["quota", "unavailable", "internal", "concurrent", "new API"]
SAID = {
    "concurrent": "somebody else changes|an earlier change of model-registry-.* runs|.* is busy",
    "new API": r"(eventarc|bigquery)\.googleapis\.com was enabled a moment ago",
}
CHANGING = [call for call in RESUMED if call != "logs dev"]


@pytest.mark.parametrize("words", BUSY)
@pytest.mark.parametrize("call", CHANGING)
def test_each_change_is_tried_again_while_google_is_busy(
    cloud: Cloud, reached: dict[str, list[Json]], call: str, words: str
) -> None:
    """Every change of a run fails once, or twice, in turn by the kind of answer."""
    enables_first = words == "new API" and call.startswith("setup")
    start, end = reached[call][enables_first], reached[call][-1]

    often = 1 + BUSY.index(words) % 2
    twin = cloud.twin(start)
    twin.fault(words, each=often, changes=True)

    ended = twin.do(*call.split())

    pattern = rf"^({SAID.get(words, '.* is busy')}).*: trying again in"
    assert len(ended.sleeps) == len(re.findall(pattern, ended.err, re.MULTILINE)) >= often
    assert twin.state == end


@pytest.mark.parametrize("call", CHANGING)
def test_what_stays_busy_is_given_up_at_last(
    cloud: Cloud, reached: dict[str, list[Json]], call: str
) -> None:
    """At the first change and at the last. That each is tried again is shown above."""
    starts = reached[call][:-1]

    def give_up(at: int) -> None:
        twin = cloud.twin(starts[at])
        twin.fault(BUSY[at % 4], times=1000, changes=True)
        ended = twin.run(*call.split())
        assert (ended.status, len(ended.changes), twin.state) == (1, 11, starts[at])
        assert 600 <= sum(ended.sleeps) <= 900
        assert re.search(
            r"^\w+\.sh: .*: run it again later; it goes on .*$", ended.err, re.MULTILINE
        )

    at_once(give_up, sorted({0, len(starts) - 1}))


NEW = [
    ("setup dev", "gcloud iam service-accounts add-iam-policy-binding", "not visible"),
    ("setup dev", "gcloud projects add-iam-policy-binding", "not visible"),
    ("setup dev", "GRANT", "not visible"),
    ("dev", "gcloud functions deploy", "eventarc"),
    ("dev", "gcloud functions deploy", "bucket not validated"),
    ("dev", "gcloud functions deploy", "not in force"),
    ("dev", "gcloud functions deploy", "no role to build"),
    ("dev", "gcloud functions deploy", "no sources"),
    ("dev", "gcloud functions deploy", "no repository"),
    ("dev", "gcloud functions deploy", "no image"),
    ("dev", "gcloud functions deploy", "may not act"),
    ("dev", "gcloud run services add-iam-policy-binding", "not visible"),
    (EACH[2], "gcloud functions deploy", "not visible"),
    ("reconcile dev", "gcloud storage buckets add-iam-policy-binding", "not visible"),
    ("reconcile dev", "GRANT", "not visible"),
    ("reconcile dev", "gcloud scheduler jobs create", "may not act"),
    (EACH[4], "gcloud pubsub topics add-iam-policy-binding", "not visible"),
    (EACH[4], "gcloud alpha monitoring policies create", "metric"),
]
ACCOUNT = r"(model-registry|service)-[\w-]+@\S+ is new, and not visible everywhere yet"
WAITS = {
    "not visible": ACCOUNT,
    "may not act": ACCOUNT,
    "metric": "the metric is new, and not visible yet",
}


@pytest.mark.parametrize(("call", "command", "words"), NEW)
def test_what_is_new_is_waited_for_by_name(
    cloud: Cloud, reached: dict[str, list[Json]], call: str, command: str, words: str
) -> None:
    twin = cloud.twin(reached[call][0])
    twin.fault(words, command, times=3)

    ended = twin.do(*call.split())

    waits = WAITS.get(words, "a role that was granted a moment ago is not in force yet")
    assert len(ended.sleeps) == 3
    assert len(re.findall(f"^{waits}: trying again in", ended.err, re.MULTILINE)) == 3
    assert twin.state == reached[call][-1]


@pytest.mark.parametrize("call", EACH)
@pytest.mark.parametrize(
    ("state", "words"),
    [({"account": ""}, "gcloud auth login"), ({"project": "another"}, "soufianesys")],
    ids=["no account", "no access"],
)
def test_nothing_is_done_without_access_to_the_project(
    deployed: Cloud, call: str, state: Json, words: str
) -> None:
    deployed.state.update(state)

    ended = deployed.run(*call.split())

    assert (ended.status, ended.out, ended.changes) == (1, "", [])
    assert one_line(ended.err)
    assert words in ended.err


WITHOUT_BQ = {"logs", "delete", "monitoring", "notify", "replay"}


@pytest.mark.parametrize("call", EACH)
def test_a_missing_tool_is_named(deployed: Cloud, call: str, tmp_path: Path) -> None:
    deployed.path = [tmp_path, basics := deployed.path[1]]
    for tool in ["gcloud", *["bq"] * (call.split(maxsplit=1)[0] not in WITHOUT_BQ)]:
        ended = deployed.run(*call.split())
        assert (ended.status, ended.out, ended.changes) == (1, "", [])
        assert ended.err == (
            f"{call.split(maxsplit=1)[0]}.sh: expected {tool} on the PATH, found none:"
            " install the Google Cloud CLI\n"
        )
        server.tools(tmp_path, tool)
    assert deployed.path == [tmp_path, basics]


@pytest.mark.parametrize("table", ["models", "a.b.c", "a.`b", "a.b; DROP"])
def test_a_table_of_another_form_is_refused(cloud: Cloud, table: str) -> None:
    cloud.environ["REGISTRY_TABLE"] = table

    ended = cloud.run("setup")

    assert (ended.status, ended.out, ended.commands) == (1, "", [])
    assert f"expected <dataset>.<table>, found {table}" in ended.err


@pytest.mark.parametrize("call", EACH)
def test_no_script_reads_its_standard_input(
    cloud: Cloud, reached: dict[str, list[Json]], call: str
) -> None:
    """All tests leave it open, without an end; here it is closed."""
    twin = cloud.twin(reached[call][0])
    script, *arguments = call.split()
    command = ["bash", "-c", 'exec "$@" <&-', "bash", f"{cloud.source}/deploy/{script}.sh"]
    subprocess.run([*command, *arguments], env=twin.env(), stdout=subprocess.DEVNULL, check=True)

    assert twin.state == reached[call][-1]


NAMED = ["verify", "delete", "logs", "reconcile", "replay"]  # without a name they do nothing
SCRIPTS = ["staging", "prod", "upgrade", "forget", *(call.split(maxsplit=1)[0] for call in EACH)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_header(cloud: Cloud, script: str) -> None:
    for option in ("--help", "-h"):
        ended = cloud.do(script, option)

        assert f"\nUsage: deploy/{script}.sh " in ended.out
        assert "#" not in ended.out
        assert (ended.err, ended.commands) == ("", [])


@pytest.mark.parametrize(
    "call",
    [
        *(f"{script} --force: expected * found --force" for script in SCRIPTS),
        *(f"{script} test: expected * found test" for script in SCRIPTS),
        *(f"{script}: expected * nothing" for script in NAMED),
        "dev prod: expected --dry-run or nothing, found prod",
        "upgrade --dry-run dev: expected --dry-run or nothing, found --dry-run dev",
        "prod --dry-run --dry-run: expected --dry-run or nothing, found --dry-run --dry-run",
        "monitoring --notify: --notify: expected projects/* found nothing",
        "monitoring --notify me@example.com: --notify: expected projects/* found me@example.com",
        "verify inventory: expected dev, staging or prod, found inventory",
        "notify dev --filter: --filter: expected a filter, found nothing",
        "notify --topic: --topic: expected 3 to 40 * found nothing",
        "notify --topic My_Topic dev: --topic: expected 3 to 40 * found My_Topic",
        "replay inventory: expected * found inventory",
        "logs reconcile: expected * found reconcile",
        "delete dev --yes Prod: expected * found Prod",
        "reconcile inventory: expected * found inventory",
        "reconcile dev --schedule: --schedule: expected five fields * found nothing",
        "reconcile dev --schedule 3: --schedule: expected five fields * found 3",
        "inventory --viewer: --viewer: expected user:, * nothing",
        "inventory --viewer ada@example.com: --viewer: expected user:, * found ada@example.com",
        "inventory --viewer users:ada: --viewer: expected user:, * found users:ada",
        "inventory --viewer user:: --viewer: expected user:, * found user:",
        "inventory --viewer allUsers: --viewer: expected people of the project, found allUsers: *",
    ],
)
def test_bad_arguments_are_explained_with_the_usage(cloud: Cloud, call: str) -> None:
    words, _, message = call.replace(":: ", ":\0: ").partition(": ")
    words = words.replace("\0", "")
    message = re.escape(message.replace("\0", "")).replace(r"\*", ".*")

    ended = cloud.run(*words.split())

    assert (ended.status, ended.out, ended.commands) == (2, "", [])
    assert re.match(rf"{words.split(maxsplit=1)[0]}\.sh: {message}", ended.err), ended.err
    assert f"\nUsage: deploy/{words.split(maxsplit=1)[0]}.sh " in ended.err


# --- --dry-run ------------------------------------------------------------------------------------


def dry_run(cloud: Cloud, call: str, environ: dict[str, str]) -> str:
    """Return what --dry-run prints where there is neither gcloud nor bq."""
    twin = cloud.twin(cloud.state, **environ)
    twin.path = twin.path[1:]
    ended = twin.do(*shlex.split(call), "--dry-run")
    assert (ended.err, ended.commands) == ("", [])
    return re.sub(r"registry-check/v0/\d+-\d+", "registry-check/v0/1", ended.out)


@pytest.mark.parametrize(("call", "environ"), WRITTEN)
def test_a_dry_run_prints_what_is_written_in_its_file(
    cloud: Cloud, call: str, environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """tests/deploy/ holds a file for each call; --golden rewrites them."""
    name = re.sub(r"[^\w.-]+", " ", call).strip().replace(" ", "_")
    file = ROOT / f"tests/deploy/{'acme_' * (environ == ACME)}{name}.txt"
    printed = dry_run(cloud, call, environ)
    printed = printed.replace(f"'{cloud.source}", "'/model registry").replace(
        f"={cloud.source}", "=/model registry"
    )

    if request.config.getoption("--golden"):
        file.write_text(printed)
    assert file.read_text() == printed
    subprocess.run(["bash", "-n"], input=printed, check=True, text=True)


def test_a_dry_run_pasted_does_what_the_script_does(
    google: Callable[[Json], Cloud], reached: dict[str, list[Json]], tmp_path: Path
) -> None:
    cloud = google(new_state(PROJECT))
    for call in EACH:
        printed = dry_run(cloud, call, {})
        pasted = cloud.twin(reached[call][0], CLOUDSDK_CORE_DISABLE_PROMPTS="1")
        ended = subprocess.run(
            [pasted.path[1] / "bash", "-euo", "pipefail"],
            input=printed,
            env=pasted.env(),
            cwd=tmp_path,
            check=False,
            text=True,
            capture_output=True,
        )
        assert ended.returncode == 0, ended.stderr
        assert pasted.project.unknown == []
        assert pasted.state == reached[call][-1]
