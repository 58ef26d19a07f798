"""The deploy scripts, on a Google Cloud project in a folder (tests/cloud.py) and the real tools."""

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery

from tests.cloud import NUMBER, Json, new_project
from tests.conftest import PROJECT, ROOT, VIEWS, wait_until
from tests.test_bigquery import COLUMNS

ENVIRONMENTS = ["dev", "staging", "prod"]
SCRIPTS = [
    "setup", "dev", "staging", "prod", "inventory", "reconcile", "monitoring", "verify", "delete",
    "logs",
]  # fmt: skip
VIEWER = "group:ml@example.com"
# Variables that all functions have, running and in their build.
STARTS_FAST, HASHES_SOURCES = "REQUESTS_CA_BUNDLE=/etc/ssl/certs", "SOURCE_DATE_EPOCH=315532800"
# The scripts with arguments that they accept.
CALLS = [
    *(["setup"], ["setup", "prod"], ["dev"], ["staging"], ["prod"], ["monitoring"]),
    ["monitoring", "dev", "--notify", "projects/soufianesys/notificationChannels/42"],
    *(["verify", "dev"], ["delete", "dev", "--yes"], ["delete", "inventory", "--yes"]),
    *(["inventory"], ["inventory", "--viewer", VIEWER, "--viewer", "user:ada@example.com"]),
    *(["reconcile", "dev"], ["reconcile", "prod", "--schedule", "*/20 1-5 * * mon"]),
    ["delete", "reconcile-dev", "--yes"],
]
# What the scripts may use of a machine, beside gcloud and bq. `sleep` is recorded.
BASICS = [
    "awk", "basename", "bash", "cat", "cp", "cut", "date", "dirname", "env", "false", "find",
    "grep", "head", "kill", "ln", "ls", "mkdir", "mktemp", "mv", "printf", "readlink", "realpath",
    "rm", "sed", "sh", "sort", "tail", "tee", "touch", "tr", "true", "uname", "uniq", "wc",
    "xargs",
]  # fmt: skip
APIS = [
    "artifactregistry", "bigquery", "cloudbuild", "cloudfunctions", "eventarc", "iam", "logging",
    "monitoring", "pubsub", "run", "storage",
]  # fmt: skip
STORAGE_AGENT = f"serviceAccount:service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
PUBSUB_AGENT = f"serviceAccount:service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com"
CHANNEL = "projects/soufianesys/notificationChannels/42"
GCLOUD = pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
BQ = pytest.mark.skipif(not shutil.which("bq"), reason="bq is not installed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A command which a script has run."""

    tool: str
    words: list[str]
    changes: bool
    status: int

    def __str__(self) -> str:
        """Give what could be typed."""
        return shlex.join([self.tool, *self.words])

    @property
    def flags(self) -> set[str]:
        """All the options, with their values."""
        return {word for word in self.words if word.startswith("--")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a script has done."""

    status: int
    out: str
    err: str
    commands: list[Recorded]

    @property
    def changes(self) -> list[str]:
        """The commands that are to change something, in their order."""
        return [str(command) for command in self.commands if command.changes]

    @property
    def sleeps(self) -> list[float]:
        return [float(command.words[0]) for command in self.commands if command.tool == "sleep"]

    def of(self, start: str) -> Recorded:
        """Give the only command that begins so, of those that did not fail."""
        [found] = [c for c in self.commands if str(c).startswith(start) and c.status == 0]
        return found


@dataclass(kw_only=True)
class Cloud:
    """A Google Cloud project in a folder, and the scripts to run on it."""

    folder: Path
    project: Path  # a copy of this project
    path: list[Path]  # what PATH is
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Json:
        state: Json = json.loads((self.folder / "state.json").read_text())
        return state

    @state.setter
    def state(self, state: Json) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "state.json").write_text(json.dumps(state))

    @property
    def things(self) -> Json:
        """What is in the project."""
        aside = {"faults", "unknown", "row_after", "lines", "policies"}
        kept = {name: value for name, value in self.state.items() if name not in aside}
        for dataset in kept["datasets"].values():
            dataset["access"].sort(key=str)
        return {**kept, "bindings": {p: bindings(self, p) for p in self.state["policies"]}}

    def lines(self, name: str) -> list[Any]:
        """Read one of the double's records."""
        file = self.folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def change(self, **values: Any) -> None:  # noqa: ANN401 # any part of the state
        self.state = {**self.state, **values}

    def fault(self, words: str, command: str = "", *, times: int = 1, **when: object) -> None:
        """Have commands that contain some words fail."""
        fault = {"words": words, "command": command, "times": times, **when}
        self.change(faults=[*self.state["faults"], fault])

    def twin(self, name: str, state: Json) -> "Cloud":
        """Give another project, in that state."""
        twin = Cloud(
            folder=self.folder.with_name(name),
            project=self.project,
            path=self.path,
            environ=self.environ,
        )
        twin.state = state
        return twin

    def start(self, *words: object, **options: Any) -> "subprocess.Popen[str]":  # noqa: ANN401
        """Start a script; nobody is there to answer."""
        script, *arguments = map(str, words)
        defaults = {
            "cwd": "/",
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": self.env(),
        }
        return subprocess.Popen(
            [self.project / f"deploy/{script}.sh", *arguments], **{**defaults, **options}
        )

    def env(self) -> dict[str, str]:
        path = os.pathsep.join(map(str, self.path))
        return {
            "PATH": path,
            "CLOUD_FOLDER": str(self.folder),
            "HOME": str(self.folder),
            **self.environ,
        }

    def run(self, *words: object, **options: Any) -> Ended:  # noqa: ANN401
        """Run a script to its end; no command may be unknown to the double."""
        before = len(self.lines("commands.jsonl"))
        with self.start(*words, **options) as process:
            try:
                out, err = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        recorded = [Recorded(**line) for line in self.lines("commands.jsonl")[before:]]
        assert self.state["unknown"] == []
        return Ended(status=process.returncode, out=out, err=err, commands=recorded)

    def do(self, *words: object) -> Ended:
        """Run a script that is to succeed."""
        ended = self.run(*words)
        assert ended.status == 0, ended.err
        return ended


def link(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is deployed, in a folder whose name has a space."""
    copy = tmp_path_factory.mktemp("deploy") / "model registry"
    ignored = shutil.ignore_patterns("__pycache__", "local*")
    for folder in ("deploy", "registry"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("main.py", "requirements.txt", ".gcloudignore"):
        shutil.copy(ROOT / file, copy / file)
    return copy


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three tools: gcloud, bq, and sleep."""
    folder = tmp_path_factory.mktemp("the tools")
    for name in ("gcloud", "bq", "sleep"):
        tool = folder / name
        # Imported, not run: so it is compiled once.
        code = "import sys; sys.path.append(sys.argv[1]); import cloud; cloud.main(*sys.argv[2:])"
        double = shlex.join([sys.executable, "-I", "-S", "-c", code, str(ROOT / "tests"), name])
        tool.write_text(f'#!/bin/sh\nexec {double} "$@"\n')
        tool.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def basics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what each machine has."""
    folder = tmp_path_factory.mktemp("basics")
    link(folder, BASICS)
    return folder


@pytest.fixture
def cloud(tmp_path: Path, project: Path, tools: Path, basics: Path) -> Cloud:
    """A project in which nobody has done anything yet."""
    made = Cloud(folder=tmp_path / "cloud", project=project, path=[tools, basics])
    made.state = new_project(PROJECT)
    return made


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, project: Path, tools: Path, basics: Path
) -> tuple[Cloud, Ended]:
    """A project which setup.sh has set up for dev, and how it went."""
    made = Cloud(folder=tmp_path_factory.mktemp("set up"), project=project, path=[tools, basics])
    made.state = new_project(PROJECT)
    return made, made.do("setup", "dev")


@pytest.fixture
def ready(cloud: Cloud, undisturbed: tuple[Cloud, Ended]) -> Cloud:
    """A project in which setup.sh has run."""
    cloud.state = undisturbed[0].state
    return cloud


@pytest.fixture(scope="module")
def first_deployment(
    undisturbed: tuple[Cloud, Ended], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Cloud, Ended]:
    """A project in which dev is deployed, and how it went."""
    folder = tmp_path_factory.mktemp("deployed") / "cloud"
    made = Cloud(folder=folder, project=undisturbed[0].project, path=undisturbed[0].path)
    made.state = undisturbed[0].state
    return made, made.do("dev")


@pytest.fixture
def deployed(cloud: Cloud, first_deployment: tuple[Cloud, Ended]) -> Cloud:
    """A project in which dev is deployed."""
    cloud.state = first_deployment[0].state
    return cloud


def at_once[T, R](do: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Do it for all of them, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(do, items))


def email(environment: str) -> str:
    return f"model-registry-sa-{environment}@soufianesys.iam.gserviceaccount.com"


READER = "model-registry-inventory@soufianesys.iam.gserviceaccount.com"
RECONCILER = "model-registry-reconcile@soufianesys.iam.gserviceaccount.com"


def bindings(cloud: Cloud, policy: str) -> set[tuple[str, str]]:
    """Give who has which role."""
    return {
        (member, binding["role"])
        for binding in cloud.state["policies"].get(policy, [])
        for member in binding["members"]
    }


def flat(text: str) -> str:
    """Undo what bq does to its messages: it wraps them, after hyphens too."""
    return re.sub(r"\s+", " ", text.replace("-\n", "-"))


def one_line(text: str) -> bool:
    return text.endswith("\n") and text.count("\n") == 1


# --- setup.sh -------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [[], ["staging"], ["prod", "dev"]])
def test_setup_makes_what_the_environments_need(cloud: Cloud, named: list[str]) -> None:
    environments = named or ENVIRONMENTS

    cloud.do("setup", *named)

    state = cloud.state
    assert {f"{api}.googleapis.com" for api in APIS} <= {*state["apis"]}
    assert state["buckets"] == {
        f"gs://ml-models-{name}": {
            "location": "US-CENTRAL1",
            "uniform_bucket_level_access": True,
            "public_access_prevention": "enforced",
            "versioning_enabled": True,
        }
        for name in environments
    }
    assert state["datasets"]["ml_registry"]["location"] == "us-central1"
    views = {f"ml_registry.{f.stem}" for f in (ROOT / "deploy/bigquery/views").glob("*.sql")}
    assert {*state["tables"]} == {"ml_registry.models", "ml_registry.vanished"} | views
    assert [
        column["name"] for column in state["tables"]["ml_registry.models"]["schema"]["fields"]
    ] == [name for name, _, _ in COLUMNS]
    assert {email(name) for name in environments} < {*state["accounts"]}
    assert len(state["accounts"]) == len(environments) + 1


@pytest.mark.parametrize("named", [[], ["staging"]])
def test_setup_grants_the_least_that_works(cloud: Cloud, named: list[str]) -> None:
    members = {f"serviceAccount:{email(name)}" for name in named or ENVIRONMENTS}

    cloud.do("setup", *named)

    granted = bindings(cloud, "project") - {("user:me@example.com", "roles/owner")}
    builder = "serviceAccount:model-registry-build@soufianesys.iam.gserviceaccount.com"
    roles = ("roles/eventarc.eventReceiver", "roles/run.invoker")
    assert {pair for pair in granted if pair[0] != builder} == {
        (STORAGE_AGENT, "roles/pubsub.publisher"),
        *((member, role) for member in members for role in roles),
    }
    assert {role for member, role in granted if member == builder} == {
        "roles/artifactregistry.writer",
        "roles/logging.logWriter",
        "roles/storage.objectViewer",
    }
    assert bindings(cloud, "tables/ml_registry.models") == {
        (member, "roles/bigquery.dataEditor") for member in members
    }
    access = cloud.state["datasets"]["ml_registry"]["access"]
    assert {
        f"serviceAccount:{a['userByEmail']}" for a in access if "metadataViewer" in a["role"]
    } == members
    # Whoever had access before has it still.
    assert {"role": "OWNER", "specialGroup": "projectOwners"} in access
    assert {"role": "OWNER", "userByEmail": "me@example.com"} in access


def test_setup_changes_nothing_that_is_right_already(cloud: Cloud) -> None:
    cloud.do("setup")

    again = cloud.do("setup")

    assert again.changes == []
    assert again.sleeps == []


def test_setup_for_one_more_environment_leaves_the_others_alone(ready: Cloud) -> None:
    more = ready.do("setup", "prod")

    assert more.changes
    assert not [line for line in more.changes if re.search(r"-dev\b|services enable| query ", line)]
    assert {"gs://ml-models-dev", "gs://ml-models-prod"} == {*ready.state["buckets"]}


def test_setup_never_deletes_or_replaces_a_thing(undisturbed: tuple[Cloud, Ended]) -> None:
    changes = "\n".join(undisturbed[1].changes)

    assert not re.search(r"\b(delete|rm|remove|set-iam-policy|DROP|TRUNCATE|--force)\b", changes)
    assert "CREATE OR REPLACE TABLE" not in changes


def test_setup_that_is_denied_something_stops_there_and_is_completed_by_the_next_run(
    cloud: Cloud, undisturbed: tuple[Cloud, Ended]
) -> None:
    """At each of the commands that change something."""
    reached, ended = undisturbed
    states = [new_project(PROJECT), *reached.lines("states.jsonl")]
    assert len(states) == len(ended.changes) + 1 > 15

    def denied(at: int) -> None:
        twin = cloud.twin(f"denied at {at}", new_project(PROJECT))
        twin.fault("denied", changes=True, after=at)
        first = twin.run("setup", "dev")
        assert first.status == 1
        assert re.search(r"PERMISSION_DENIED|Access\s+Denied", first.err), first.err
        assert first.changes == ended.changes[: at + 1] or "tmp" in first.changes[-1]
        assert len(first.changes) == at + 1
        assert twin.state == states[at]
        assert first.sleeps == []
        again = twin.do("setup", "dev")
        assert twin.state == reached.state
        assert len(again.changes) == len(ended.changes) - at

    at_once(denied, range(len(ended.changes)))


def test_setup_that_may_not_look_changes_nothing_more(
    cloud: Cloud, undisturbed: tuple[Cloud, Ended]
) -> None:
    """At each of the commands that look: what cannot be seen is not taken for absent."""
    commands = undisturbed[1].commands

    def asks_nobody(command: Recorded) -> bool:
        return command.words[:2] == ["auth", "list"]

    def blind(at: int) -> None:
        twin = cloud.twin(f"blind at {at}", new_project(PROJECT))
        twin.fault("denied", after=at - sum(map(asks_nobody, commands[:at])))
        ended = twin.run("setup", "dev")
        assert ended.status == 1, commands[at]
        assert "denied" in ended.err.lower()
        assert len(ended.commands) == at + 1

    looks = [at for at, c in enumerate(commands) if not c.changes and not asks_nobody(c)]
    assert len(looks) > 10
    at_once(blind, looks[::2])


def test_a_table_of_nine_columns_is_mended(ready: Cloud) -> None:
    tables = ready.state["tables"]
    del tables["ml_registry.models"]["schema"]["fields"][9:]
    ready.change(tables=tables)

    [change] = ready.do("setup", "dev").changes

    assert "ADD COLUMN IF NOT EXISTS" in change
    fields = ready.state["tables"]["ml_registry.models"]["schema"]["fields"]
    assert [column["name"] for column in fields] == [name for name, _, _ in COLUMNS]


def test_a_registry_without_the_table_of_what_vanished_gets_it(ready: Cloud) -> None:
    tables = ready.state["tables"]
    columns = [f["name"] for f in tables["ml_registry.vanished"]["schema"]["fields"]]
    assert columns == ["gcs_bucket", "gcs_path", "generation", "upload_timestamp", "found_at"]
    del tables["ml_registry.vanished"]
    ready.change(tables=tables)

    [change] = ready.do("setup", "dev").changes

    assert "CREATE TABLE IF NOT EXISTS `soufianesys.ml_registry.vanished`" in change


def test_a_view_of_another_definition_is_mended(ready: Cloud) -> None:
    tables = ready.state["tables"]
    tables["ml_registry.registrations"]["view"]["query"] = "SELECT * FROM ml_registry.models"
    ready.change(tables=tables)

    changes = ready.do("setup", "dev").changes

    # With those which read it, as it may have other columns now.
    assert [re.findall(r"VIEW \S+\.(\w+)", change) for change in changes] == [[v] for v in VIEWS]
    assert "QUALIFY" in ready.state["tables"]["ml_registry.registrations"]["view"]["query"]


def test_a_view_is_compared_as_a_whole_whatever_letters_it_has(
    ready: Cloud, tmp_path: Path
) -> None:
    """Those which JSON escapes. What was longer, at either end, is another definition."""
    ready.project = shutil.copytree(ready.project, tmp_path / "changed")
    file = ready.project / "deploy/bigquery/views/promotions.sql"
    text = file.read_text()
    odd = r"""
HAVING NOT REGEXP_CONTAINS(model_name, r'\n"\s*<\\\"\/') AND model_name <> "a\tb"
  AND TRUE -- "quoted" & \n"""
    ended = text.replace(";\n", f"{odd};\n")
    begun = text.replace("\nAS\n", "\nAS\nWITH one AS (SELECT 1)\n")
    for changed in (ended, text, begun, text, ended, ended.replace(r"\s", r"\\s")):
        file.write_text(changed)

        # And latest_models, which is made after it.
        assert len(ready.do("setup", "dev").changes) == 2

    assert ready.do("setup", "dev").changes == []


def test_a_bucket_elsewhere_is_left_where_it_is_and_its_trigger_goes_there(cloud: Cloud) -> None:
    there = {"location": "EU", "versioning_enabled": True}
    cloud.change(buckets={"gs://ml-models-dev": there})

    cloud.do("setup", "dev")
    ended = cloud.do("dev")

    assert cloud.state["buckets"] == {"gs://ml-models-dev": there}
    deploy = ended.of("gcloud functions deploy")
    assert {"--trigger-location=eu", "--region=us-central1"} <= deploy.flags


def test_a_bucket_without_versioning_gets_it(ready: Cloud) -> None:
    buckets = ready.state["buckets"]
    del buckets["gs://ml-models-dev"]["versioning_enabled"]
    ready.change(buckets=buckets)

    [change] = ready.do("setup", "dev").changes

    assert change == "gcloud storage buckets update gs://ml-models-dev --versioning"


BINDINGS = {
    "account": "iam service-accounts add-iam-policy-binding",
    "project": "projects add-iam-policy-binding",
    "table": "bq add-iam-policy-binding",
    "dataset": "bq update",
}


@pytest.mark.parametrize("command", BINDINGS.values(), ids=BINDINGS)
def test_a_service_account_that_is_not_visible_yet_is_waited_for(
    cloud: Cloud, command: str, undisturbed: tuple[Cloud, Ended]
) -> None:
    """Also where bq, which wraps its messages at 80 letters, breaks its words."""
    name = "acme-models-production-1234"
    cloud.environ["GCP_PROJECT_ID"] = name
    cloud.state = new_project(name)
    cloud.fault("not visible", command, times=3)

    ended = cloud.do("setup", "dev")

    assert len(ended.sleeps) == 3
    assert sum(ended.sleeps) <= 60
    assert len(re.findall("not visible yet", ended.err)) == 3
    assert len(cloud.state["tables"]) == len(undisturbed[0].state["tables"])


@pytest.mark.parametrize("command", BINDINGS.values(), ids=BINDINGS)
def test_a_service_account_that_never_comes_is_given_up(cloud: Cloud, command: str) -> None:
    cloud.fault("not visible", command, times=1000)

    ended = cloud.run("setup", "dev")

    assert ended.status == 1
    assert 60 <= sum(ended.sleeps) <= 600
    assert re.search(r"Service account \S+ does not exist|Unknown service account", flat(ended.err))
    assert command.rsplit(maxsplit=1)[-1] in ended.changes[-1]


def test_a_change_of_the_policy_by_somebody_else_is_waited_out(
    cloud: Cloud, undisturbed: tuple[Cloud, Ended]
) -> None:
    cloud.fault("concurrent", "projects add-iam-policy-binding", times=2)

    ended = cloud.do("setup", "dev")

    assert len(ended.sleeps) == 2
    assert "trying again" in ended.err
    assert cloud.state == undisturbed[0].state


def test_a_project_of_a_domain_has_its_accounts_elsewhere(cloud: Cloud) -> None:
    cloud.environ["GCP_PROJECT_ID"] = "example.com:acme"
    cloud.state = new_project("example.com:acme")

    cloud.do("setup", "dev")
    cloud.do("dev")

    name = "model-registry-sa-dev@acme.example.com.iam.gserviceaccount.com"
    assert name in cloud.state["accounts"]
    assert cloud.do("setup", "dev").changes == []


# --- dev.sh, staging.sh, prod.sh ------------------------------------------------------------------


def expected_flags(source: Path, name: str, **changed: str) -> set[str]:
    account = email(name)
    flags = {
        "project": "soufianesys",
        "region": "us-central1",
        "runtime": "python312",
        "source": str(source),
        "entry-point": "register_model",
        "trigger-location": "us-central1",
        "trigger-service-account": account,
        "service-account": account,
        "set-env-vars": f"GCP_PROJECT_ID=soufianesys,{STARTS_FAST}",
        "set-build-env-vars": HASHES_SOURCES,
        "max-instances": "5",
        "memory": "256MB",
        "timeout": "60s",
        "ingress-settings": "internal-only",
        **{key.replace("_", "-"): value for key, value in changed.items()},
    }
    bucket = flags.pop("bucket", f"ml-models-{name}")
    return {
        *(f"--{key}={value}" for key, value in flags.items()),
        "--trigger-event-filters=type=google.cloud.storage.object.v1.finalized",
        f"--trigger-event-filters=bucket={bucket}",
        *("--gen2", "--retry", "--no-allow-unauthenticated"),
    }


def compared(flags: set[str]) -> set[str]:
    """Leave out what is beside the point."""
    return {flag for flag in flags if not flag.startswith(("--quiet", "--build-service-account"))}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_deployment_has_exactly_these_options(cloud: Cloud, project: Path, name: str) -> None:
    cloud.do("setup", name)
    for _ in range(2):
        ended = cloud.do(name)

        deploy = ended.of("gcloud functions deploy")
        assert [*deploy.words[:3]] == ["functions", "deploy", f"model-registry-{name}"]
        assert compared(deploy.flags) == expected_flags(project, name)
        assert len(ended.changes) == 1
    [function] = cloud.state["functions"].values()
    assert function["state"] == "ACTIVE"
    assert function["eventTrigger"]["retryPolicy"] == "RETRY_POLICY_RETRY"


def test_settings_come_from_the_environment(cloud: Cloud, project: Path) -> None:
    cloud.environ |= {
        "GCP_PROJECT_ID": "acme-1",
        "REGION": "europe-west4",
        "BUCKET_PREFIX": "acme-models",
        "REGISTRY_TABLE": "acme_registry.uploads",
        "FUNCTION_PREFIX": "acme-registry",
        "SERVICE_ACCOUNT_PREFIX": "acme-sa",
    }
    cloud.state = new_project("acme-1")

    cloud.do("setup", "dev")
    deploy = cloud.do("dev").of("gcloud functions deploy acme-registry-dev ")

    account = "acme-sa-dev@acme-1.iam.gserviceaccount.com"
    assert compared(deploy.flags) == expected_flags(
        project,
        "dev",
        project="acme-1",
        region="europe-west4",
        bucket="acme-models-dev",
        trigger_location="europe-west4",
        trigger_service_account=account,
        service_account=account,
        set_env_vars=f"GCP_PROJECT_ID=acme-1,REGISTRY_TABLE=acme_registry.uploads,{STARTS_FAST}",
    )
    assert cloud.state["buckets"]["gs://acme-models-dev"]["location"] == "EUROPE-WEST4"
    assert cloud.state["datasets"]["acme_registry"]["location"] == "europe-west4"
    assert {"acme_registry.uploads", "acme_registry.registrations"} <= {*cloud.state["tables"]}
    assert cloud.do("setup", "dev").changes == []


def unbind(policy: str, role: str) -> Callable[[Json], object]:
    def remove(state: Json) -> None:
        kept = [b for b in state["policies"][policy] if b["role"] != role]
        assert kept != state["policies"][policy]
        state["policies"][policy] = kept

    return remove


# What setup.sh has left, and what of it is taken away.
MISSING: dict[str, Callable[[Json], object]] = {
    "bucket": lambda state: state["buckets"].clear(),
    "service account": lambda state: state["accounts"].pop(email("dev")),
    "dataset": lambda state: (state["tables"].clear(), state["datasets"].clear()),
    "table": lambda state: state["tables"].clear(),
    "eventReceiver": unbind("project", "roles/eventarc.eventReceiver"),
    "run.invoker": unbind("project", "roles/run.invoker"),
    "pubsub.publisher": unbind("project", "roles/pubsub.publisher"),
    "dataEditor": unbind("tables/ml_registry.models", "roles/bigquery.dataEditor"),
    "metadataViewer": lambda state: state["datasets"]["ml_registry"]["access"].pop(0),
}


@pytest.mark.parametrize("missing", MISSING)
def test_what_setup_has_not_left_is_told_before_anything_is_deployed(
    ready: Cloud, missing: str, undisturbed: tuple[Cloud, Ended]
) -> None:
    state = ready.state
    MISSING[missing](state)
    ready.state = state

    ended = ready.run("dev")

    assert (ended.status, ended.changes) == (1, [])
    assert one_line(ended.err)
    assert "run deploy/setup.sh dev" in ended.err
    assert missing.replace("dataset", "table") in ended.err
    ready.do("setup", "dev")
    assert ready.things == undisturbed[0].things


def test_a_role_of_another_environment_does_not_count(ready: Cloud) -> None:
    """Nor one whose account's name only begins with the same letters."""
    state = json.dumps(ready.state).replace("sa-dev@", "sa-dev2@")
    ready.state = json.loads(state)
    ready.change(accounts={email("dev"): {"email": email("dev")}})

    ended = ready.run("dev")

    assert (ended.status, ended.changes) == (1, [])
    assert "run deploy/setup.sh dev" in ended.err


def test_a_deployment_says_how_to_see_it_work(first_deployment: tuple[Cloud, Ended]) -> None:
    out = first_deployment[1].out

    assert re.search(r"^gcloud storage cp \S+ gs://ml-models-dev/\S+/v1/", out, re.MULTILINE)
    assert re.search(r"^bq query .*`ml_registry\.models`", out, re.MULTILINE)
    assert re.search(r"^deploy/logs\.sh dev$", out, re.MULTILINE)


@pytest.mark.parametrize("times", [1, 3])
def test_eventarc_that_is_not_ready_is_waited_for(ready: Cloud, times: int) -> None:
    ready.fault("eventarc", times=times)

    ended = ready.do("dev")

    assert len(ended.sleeps) == times
    assert ended.sleeps == sorted(ended.sleeps)
    assert len(re.findall("Eventarc is not ready .* trying again", ended.err)) == times
    assert [f["state"] for f in ready.state["functions"].values()] == ["ACTIVE"]


def test_eventarc_that_may_not_see_the_bucket_yet_is_waited_for(ready: Cloud) -> None:
    ready.fault("bucket not validated", "functions deploy")

    assert len(ready.do("dev").sleeps) == 1


def test_eventarc_that_is_never_ready_is_given_up_with_googles_words(ready: Cloud) -> None:
    ready.fault("eventarc", times=1000)

    ended = ready.run("dev")

    assert ended.status == 1
    assert 120 <= sum(ended.sleeps) <= 900
    assert "Permission denied while using the Eventarc Service Agent" in ended.err.splitlines()[-1]
    assert "is deployed" not in ended.out


@pytest.mark.parametrize("words", ["denied", "unavailable"])
def test_a_deployment_that_fails_otherwise_is_not_tried_again(ready: Cloud, words: str) -> None:
    before = ready.things
    ready.fault(words, "functions deploy")

    ended = ready.run("dev")

    assert (ended.status, ended.sleeps, len(ended.changes)) == (1, [], 1)
    assert re.search("PERMISSION_DENIED|UNAVAILABLE", ended.err)
    assert "is deployed" not in ended.out
    assert ready.things == before


# --- Arguments, and what has to be there ----------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_header(cloud: Cloud, script: str) -> None:
    for option in ("--help", "-h"):
        ended = cloud.do(script, option)

        assert f"\nUsage: deploy/{script}.sh " in ended.out
        assert "#" not in ended.out
        assert (ended.err, ended.commands) == ("", [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["setup", "test"], "test"),
        (["setup", "--force"], "--force"),
        (["setup", "dev", ""], "expected dev"),
        (["dev", "prod"], "prod"),
        (["staging", "--yes"], "--yes"),
        (["prod", "--dry-run", "--dry-run"], "--dry-run"),
        (["monitoring", "--notify"], "nothing"),
        (["monitoring", "--notify", "me@example.com"], "me@example.com"),
        (["monitoring", "test"], "test"),
        (["verify"], "nothing"),
        (["verify", "dev", "prod"], "devprod"),
        (["verify", "test"], "test"),
        (["delete"], "nothing"),
        (["delete", "--yes"], "nothing"),
        (["delete", "dev", "staging", "--yes"], "devstaging"),
        (["delete", "--all"], "--all"),
        (["delete", "dev", "inventory", "--yes"], "devinventory"),
        (["logs"], "nothing"),
        (["logs", "test"], "test"),
        (["verify", "inventory"], "inventory"),
        (["logs", "reconcile"], "reconcile"),
        (["delete", "dev", "reconcile-dev", "--yes"], "devreconcile-dev"),
        (["reconcile"], "nothing"),
        (["reconcile", "dev", "prod"], "devprod"),
        (["reconcile", "inventory"], "inventory"),
        (["reconcile", "dev", "--schedule"], "nothing"),
        (["reconcile", "dev", "--schedule", "0 3 * *"], "expected five fields"),
        (["reconcile", "dev", "--schedule", "0 3 * * * *"], "found 0 3 * * * *"),
        (["reconcile", "--schedule", "dev"], "found dev"),
        (["inventory", "dev"], "dev"),
        (["inventory", "--viewer"], "expected user:, group:, serviceAccount: or domain:"),
        (["inventory", "--viewer", "ada@example.com"], "found ada@example.com"),
        (["inventory", "--viewer", "users:ada@example.com"], "found users:ada@example.com"),
        (["inventory", "--viewer", "user:"], "found user:"),
        (["inventory", "--viewer", "allUsers"], "expected people of the project, found allUsers"),
        (["inventory", "--viewer", VIEWER, "--viewer", "allAuthenticatedUsers"], "who uploaded"),
    ],
    ids=" ".join,
)
def test_bad_arguments_are_told_with_the_usage(cloud: Cloud, words: list[str], told: str) -> None:
    ended = cloud.run(*words)

    assert (ended.status, ended.out, ended.commands) == (2, "", [])
    assert told in ended.err.splitlines()[0]
    assert f"\nUsage: deploy/{words[0]}.sh " in ended.err


# One of each; dev.sh, staging.sh and prod.sh differ in their name alone.
EACH = [
    ["setup"],
    ["dev"],
    ["monitoring", "dev"],
    ["verify", "dev"],
    ["delete", "dev", "--yes"],
    ["logs", "dev"],
    ["inventory"],
    ["reconcile", "dev"],
]


@pytest.mark.parametrize("words", EACH, ids=" ".join)
@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"account": ""}, "gcloud auth login"),
        ({"project": "another"}, "soufianesys"),
    ],
    ids=["no account", "no access"],
)
def test_nothing_is_done_in_a_project_without_access(
    deployed: Cloud, words: list[str], state: Json, told: str
) -> None:
    deployed.change(**state)

    ended = deployed.run(*words)

    assert (ended.status, ended.out, ended.changes) == (1, "", [])
    assert one_line(ended.err)
    assert told in ended.err


@pytest.mark.parametrize("words", EACH, ids=" ".join)
def test_a_missing_tool_is_told(
    deployed: Cloud, words: list[str], tools: Path, tmp_path: Path
) -> None:
    only = tmp_path / "only"
    only.mkdir()
    basics = deployed.path[-1]
    deployed.path = [only, basics]
    ended = deployed.run(*words)
    assert (ended.status, ended.out, ended.commands) == (1, "", [])
    assert one_line(ended.err)
    assert "gcloud" in ended.err

    (only / "gcloud").symlink_to(tools / "gcloud")
    (only / "sleep").symlink_to(tools / "sleep")
    if words[0] in {"setup", *ENVIRONMENTS, "verify", "inventory", "reconcile"}:
        ended = deployed.run(*words)
        assert (ended.status, ended.out, ended.changes) == (1, "", [])
        assert one_line(ended.err)
        assert "bq" in ended.err


@pytest.mark.parametrize("table", ["models", "a.b.c", "a.`b", "a.b; DROP"])
def test_a_table_of_another_form_is_told(deployed: Cloud, table: str) -> None:
    deployed.environ["REGISTRY_TABLE"] = table

    ended = deployed.run("setup")

    assert (ended.status, ended.out, ended.commands) == (1, "", [])
    assert f"expected <dataset>.<table>, found {table}" in ended.err


@pytest.mark.parametrize("words", EACH, ids=" ".join)
def test_no_script_waits_for_somebody_to_type(deployed: Cloud, words: list[str]) -> None:
    """Standard input is closed, or open without end."""
    script = deployed.project / f"deploy/{words[0]}.sh"
    command: list[str | Path] = [
        deployed.path[-1] / "bash",
        "-c",
        'exec "$0" "$@" <&-',
        script,
        *words[1:],
    ]
    reads, writes = os.pipe()
    try:
        state = deployed.state
        open_end = deployed.run(*words, stdin=reads)
        deployed.state = state
        closed = subprocess.run(
            command, env=deployed.env(), capture_output=True, timeout=60, check=False
        )
    finally:
        os.close(reads)
        os.close(writes)
    assert (open_end.status, closed.returncode) == (0, 0), closed.stderr


# --- --dry-run ------------------------------------------------------------------------------------


def dry_run(cloud: Cloud, words: Sequence[str]) -> str:
    """Give what is printed where there is neither gcloud nor bq."""
    twin = cloud.twin(f"dry {' '.join(words).replace('/', ' ')}", cloud.state)
    twin.path = [cloud.path[-1]]
    ended = twin.do(*words, "--dry-run")
    assert ended.err == ""
    return ended.out


def paste(cloud: Cloud, printed: str, folder: Path) -> None:
    """Paste into a shell."""
    env = {**cloud.env(), "CLOUD_BY_HAND": "yes"}
    bash = str(cloud.path[-1] / "bash")
    subprocess.run(
        [bash, "-euo", "pipefail"], input=printed, env=env, cwd=folder, check=True, text=True
    )
    assert cloud.state["unknown"] == []


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_a_dry_run_prints_what_bash_understands_and_needs_no_tool(
    cloud: Cloud, words: list[str]
) -> None:
    printed = dry_run(cloud, words)

    subprocess.run(["bash", "-n"], input=printed, check=True, text=True)
    assert re.search("^(gcloud|bq) ", printed, re.MULTILINE)


def test_a_dry_run_runs_nothing_where_the_tools_are(cloud: Cloud) -> None:
    for words in CALLS:
        ended = cloud.do(*words, "--dry-run")

        assert ended.commands == []


def test_a_dry_run_of_a_deployment_prints_the_full_command(cloud: Cloud, project: Path) -> None:
    [words] = [shlex.split(line) for line in dry_run(cloud, ["dev"]).splitlines()]

    assert words[:4] == ["gcloud", "functions", "deploy", "model-registry-dev"]
    flags = {word for word in words if word.startswith("--")}
    assert compared(flags) == expected_flags(project, "dev")


def test_what_a_dry_run_prints_does_what_the_script_does(
    cloud: Cloud, undisturbed: tuple[Cloud, Ended], tmp_path: Path
) -> None:
    """Pasted, one after the other: setup, deployments, monitoring, deletions."""
    schedule = ["--schedule", "*/20 1-5 * * *"]
    done = cloud.twin("done", new_project(PROJECT))
    for words in (
        *(["setup", "dev"], ["dev"], ["inventory", "--viewer", VIEWER], ["monitoring", "dev"]),
        *(["reconcile", "dev", *schedule], ["delete", "reconcile-dev", "--yes"]),
        *(["delete", "dev", "--yes"], ["delete", "inventory", "--yes"]),
    ):
        printed = dry_run(cloud, words)
        paste(cloud, printed, tmp_path)
        done.do(*words)

        assert cloud.things == done.things
    assert cloud.things["buckets"] == undisturbed[0].things["buckets"]


def gcloud_environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }


def commands_of_the_readme() -> list[str]:
    """Give each command of gcloud in README.md, and in what a deployment prints."""
    blocks = re.findall(
        r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [
        line.removeprefix("$ ")
        for line in lines
        if re.match(r"(\$ )?gcloud .*--|gcloud [a-z]+ [a-z]+ ", line)
    ]


@GCLOUD
def test_gcloud_knows_every_command_that_is_printed_or_run(
    cloud: Cloud, first_deployment: tuple[Cloud, Ended], tmp_path: Path
) -> None:
    printed = "\n".join(at_once(partial(dry_run, cloud), CALLS)) + first_deployment[1].out
    lines = [line for line in printed.splitlines() if line.startswith("gcloud ")]
    lines += re.findall(r"\$\((gcloud (?:[^()']|'[^']*')*)\)", printed)
    again = [["monitoring", "dev", "--notify", CHANNEL], ["inventory", "--viewer", VIEWER]]
    jobs = [["reconcile", "dev", "--schedule", "5 4 * * sun"], ["delete", "reconcile-dev", "--yes"]]
    for words in (["setup", "dev"], *EACH[1:4], *again, *EACH[:3:-1], *jobs):
        ended = cloud.do(*words)
        lines += [str(c) for c in ended.commands if c.tool == "gcloud"]
        lines += re.findall("^gcloud .*", ended.out, re.MULTILINE)
    lines += commands_of_the_readme()
    # The checker takes a # for a comment, and joins what it believes to be a flag and its value.
    file = tmp_path / "commands.json"
    file.write_text(json.dumps([{"command_string": line} for line in dict.fromkeys(lines)]))

    answer = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={file}"],
        env=gcloud_environment(tmp_path / "config"),
        capture_output=True,
        text=True,
        check=True,
    )

    results = json.loads(answer.stdout)
    assert len(results) > 50
    wrong = [r for r in results if not r["success"]]
    assert [(r["command_string"], r["error_message"]) for r in wrong] == []


@GCLOUD
def test_only_what_the_function_needs_is_uploaded(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]
    ours = [
        ".venv/x",
        ".local/x",
        ".git/x",
        "tests/x",
        "registry/__pycache__/x.pyc",
        "registry/y.pyc",
    ]
    copy = tmp_path / "a copy"
    for name in [*names, *ours]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if name in names:
            shutil.copy(ROOT / name, copy / name)
        else:
            (copy / name).touch()

    answer = subprocess.run(
        ["gcloud", "meta", "list-files-for-upload"],
        cwd=copy,
        env=gcloud_environment(tmp_path / "config"),
        capture_output=True,
        text=True,
        check=True,
    )

    needed = {"main.py", "requirements.txt"}
    needed |= {name for name in names if re.fullmatch(r"registry/(.*\.py|templates/.*)", name)}
    assert len(needed) > 10
    assert {*answer.stdout.split()} == needed
    assert archived(copy, tmp_path / "source.zip") == needed


def archived(folder: Path, archive: Path) -> set[str]:
    """
    Give the files which a deploy sends.

    It goes by the same file, but reads it in its own way: without `!.` it leaves out what lies
    directly in the folder. So the CLI's own code makes the archive here.
    """
    root, python = subprocess.run(
        ["gcloud", "info", "--format=value(installation.sdk_root,basic.python_location)"],
        env=gcloud_environment(archive.parent / "config"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    code = (
        "import sys; sys.path[:0] = sys.argv[3:];"
        "from googlecloudsdk.command_lib.util import gcloudignore as ignore;"
        "from googlecloudsdk.core.util import archive;"
        "chosen = ignore.GetFileChooserForDir(sys.argv[1]).IsIncluded;"
        "archive.MakeZipFromDir(sys.argv[2], sys.argv[1], predicate=chosen)"
    )
    libraries = [f"{root}/lib", f"{root}/lib/third_party"]
    subprocess.run([python, "-c", code, folder, archive, *libraries], check=True)
    with zipfile.ZipFile(archive) as sent:
        return {name for name in sent.namelist() if not name.endswith("/")}


# --- inventory.sh ---------------------------------------------------------------------------------


def test_the_inventory_is_deployed_with_exactly_these_options_and_roles(
    ready: Cloud, project: Path, undisturbed: tuple[Cloud, Ended]
) -> None:
    before = {*bindings(ready, "project")}
    ended = ready.do("inventory")

    deploy = ended.of("gcloud functions deploy")
    assert [*deploy.words[:3]] == ["functions", "deploy", "model-registry-inventory"]
    builder = "model-registry-build@soufianesys.iam.gserviceaccount.com"
    assert deploy.flags == {
        *("--gen2", "--trigger-http", "--no-allow-unauthenticated", "--quiet"),
        *("--project=soufianesys", "--region=us-central1", "--runtime=python312"),
        *(f"--source={project}", "--entry-point=inventory", f"--service-account={READER}"),
        f"--build-service-account=projects/soufianesys/serviceAccounts/{builder}",
        f"--set-env-vars=GCP_PROJECT_ID=soufianesys,{STARTS_FAST}",
        f"--set-build-env-vars={HASHES_SOURCES}",
        *("--max-instances=2", "--memory=512MB", "--cpu=1", "--concurrency=40", "--timeout=60s"),
    }
    member = f"serviceAccount:{READER}"
    assert bindings(ready, "project") - before == {(member, "roles/bigquery.jobUser")}
    assert bindings(ready, f"accounts/{READER}") == {
        ("user:me@example.com", "roles/iam.serviceAccountUser")
    }
    assert {"role": "READER", "userByEmail": READER} in (
        ready.state["datasets"]["ml_registry"]["access"]
    )
    assert READER not in json.dumps(ready.state["policies"]["tables/ml_registry.models"])
    assert bindings(ready, "services/model-registry-inventory") == set()
    assert "gcloud run services proxy model-registry-inventory " in ended.out
    assert "http://localhost:8080" in ended.out
    # What was there is left alone.
    assert undisturbed[0].things["tables"] == ready.things["tables"]
    assert ready.do("setup", "dev").changes == []
    assert len(ready.do("dev").changes) == 1


def test_the_inventory_deployed_again_changes_nothing_else(ready: Cloud) -> None:
    words = ["inventory", "--viewer", VIEWER, "--viewer", "user:ada@example.com"]
    first = ready.do(*words)
    things = ready.things

    again = ready.do(*words)

    assert again.changes == [str(first.of("gcloud functions deploy"))]
    assert ready.things == things
    assert bindings(ready, "services/model-registry-inventory") == {
        (viewer, role)
        for viewer in (VIEWER, "user:ada@example.com")
        for role in ("roles/run.invoker", "roles/run.viewer")
    }


def test_the_inventory_has_its_settings(ready: Cloud) -> None:
    ready.environ |= {
        "FUNCTION_PREFIX": "acme",
        "INVENTORY_SERVICE_ACCOUNT": "acme-reads",
        "REGISTRY_TABLE": "acme_registry.uploads",
    }
    ready.do("setup", "dev")

    deploy = ready.do("inventory").of("gcloud functions deploy acme-inventory ")

    account = "acme-reads@soufianesys.iam.gserviceaccount.com"
    variables = f"GCP_PROJECT_ID=soufianesys,REGISTRY_TABLE=acme_registry.uploads,{STARTS_FAST}"
    assert {f"--service-account={account}", f"--set-env-vars={variables}"} <= deploy.flags


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("dataset", "table ml_registry.models"),
        ("ml_registry.models", "table ml_registry.models"),
        ("ml_registry.vanished", "table ml_registry.vanished"),
        *((f"ml_registry.{view}", f"view ml_registry.{view}") for view in VIEWS),
        ("accounts", "service account model-registry-build@"),
    ],
)
def test_what_the_inventory_needs_is_told_before_anything_is_changed(
    ready: Cloud, missing: str, told: str
) -> None:
    state = ready.state
    match missing:
        case "dataset":
            MISSING["dataset"](state)
        case "accounts":
            state["accounts"].clear()
        case _:
            del state["tables"][missing]
    ready.state = state

    ended = ready.run("inventory")

    assert (ended.status, ended.changes) == (1, [])
    assert one_line(ended.err)
    assert f"expected the {told}" in ended.err
    assert "run deploy/setup.sh" in ended.err


def test_the_inventory_that_is_denied_something_is_completed_by_the_next_run(ready: Cloud) -> None:
    """At each of the commands that change something, and at each that looks."""
    start = ready.state
    words = ["inventory", "--viewer", VIEWER]
    ended = ready.do(*words)
    assert len(ended.changes) == 7

    def denied(at: int) -> None:
        twin = ready.twin(f"denied at {at}", start)
        twin.fault("denied", changes=True, after=at)
        stopped = twin.run(*words)
        assert (stopped.status, stopped.sleeps, len(stopped.changes)) == (1, [], at + 1)
        assert re.search(r"PERMISSION_DENIED|Access\s+Denied", stopped.err), stopped.err
        assert "is deployed" not in stopped.out
        twin.do(*words)
        assert twin.things == ready.things

    def blind(command: str) -> None:
        twin = ready.twin(f"blind {command}", start)
        twin.fault("denied", command)
        stopped = twin.run(*words)
        assert stopped.status == 1
        assert "denied" in stopped.err.lower()
        assert str(stopped.commands[-1]).startswith(command)

    at_once(denied, range(len(ended.changes)))
    at_once(blind, ["gcloud iam service-accounts describe", "gcloud run services get-iam-policy"])


@pytest.mark.parametrize("command", [BINDINGS["project"], BINDINGS["dataset"], "functions deploy"])
def test_the_account_of_the_inventory_that_is_not_visible_yet_is_waited_for(
    ready: Cloud, command: str
) -> None:
    ready.fault("not visible", command, times=2)

    assert len(ready.do("inventory").sleeps) == 2


def test_the_inventory_is_deleted_with_who_may_open_it(ready: Cloud) -> None:
    ready.do("inventory")
    ready.do("inventory", "--viewer", VIEWER)
    ready.do("dev")

    [change] = ready.do("delete", "inventory", "--yes").changes

    assert change.startswith("gcloud functions delete model-registry-inventory ")
    assert [name.rpartition("/")[2] for name in ready.state["functions"]] == ["model-registry-dev"]


# --- reconcile.sh ---------------------------------------------------------------------------------


def test_the_reconciliation_is_deployed_with_exactly_these_options_roles_and_job(
    ready: Cloud, project: Path, undisturbed: tuple[Cloud, Ended]
) -> None:
    before = {policy: {*bindings(ready, policy)} for policy in ready.state["policies"]}
    access = ready.state["datasets"]["ml_registry"]["access"]
    ended = ready.do("reconcile", "dev")

    deploy = ended.of("gcloud functions deploy")
    assert [*deploy.words[:3]] == ["functions", "deploy", "model-registry-reconcile-dev"]
    builder = "model-registry-build@soufianesys.iam.gserviceaccount.com"
    assert deploy.flags == {
        *("--gen2", "--trigger-http", "--no-allow-unauthenticated", "--quiet"),
        *("--project=soufianesys", "--region=us-central1", "--runtime=python312"),
        *(f"--source={project}", "--entry-point=reconcile", f"--service-account={RECONCILER}"),
        f"--build-service-account=projects/soufianesys/serviceAccounts/{builder}",
        f"--set-env-vars=GCP_PROJECT_ID=soufianesys,BUCKET=ml-models-dev,{STARTS_FAST}",
        f"--set-build-env-vars={HASHES_SOURCES}",
        *("--max-instances=1", "--concurrency=1", "--memory=512MB", "--cpu=1", "--timeout=1800s"),
    }
    member = f"serviceAccount:{RECONCILER}"
    granted = {
        (policy, *pair)
        for policy in ready.state["policies"]
        for pair in bindings(ready, policy) - before.get(policy, set())
    }
    assert granted == {
        (f"accounts/{RECONCILER}", "user:me@example.com", "roles/iam.serviceAccountUser"),
        ("project", member, "roles/bigquery.jobUser"),
        ("tables/ml_registry.models", member, "roles/bigquery.dataEditor"),
        ("tables/ml_registry.vanished", member, "roles/bigquery.dataEditor"),
        ("buckets/gs://ml-models-dev", member, "roles/storage.legacyBucketReader"),
        ("services/model-registry-reconcile-dev", member, "roles/run.invoker"),
    }
    assert ready.state["datasets"]["ml_registry"]["access"] == [
        {"role": "READER", "userByEmail": RECONCILER},
        *access,
    ]
    url = "https://model-registry-reconcile-dev-fmwgdkwtaq-uc.a.run.app"
    [job] = ready.state["jobs"].values()
    assert job == {
        "name": "projects/soufianesys/locations/us-central1/jobs/model-registry-reconcile-dev",
        "state": "ENABLED",
        "schedule": "0 3 * * *",
        "timeZone": "Etc/UTC",
        "attemptDeadline": "1800s",
        "retryConfig": {"retryCount": 3},
        "httpTarget": {
            "httpMethod": "POST",
            "uri": f"{url}/",
            "oidcToken": {"serviceAccountEmail": RECONCILER, "audience": url},
        },
    }
    assert "cloudscheduler.googleapis.com" in ready.state["apis"]
    assert "gcloud scheduler jobs run model-registry-reconcile-dev " in ended.out
    assert re.search(r"^deploy/logs\.sh reconcile-dev$", ended.out, re.MULTILINE)
    # What was there is left alone.
    assert undisturbed[0].things["tables"] == ready.things["tables"]
    assert ready.do("setup", "dev").changes == []


def test_the_reconciliation_deployed_again_changes_nothing_else(ready: Cloud) -> None:
    first = ready.do("reconcile", "dev")
    things = ready.things

    again = ready.do("reconcile", "dev")

    assert again.changes == [str(first.of("gcloud functions deploy"))]
    assert ready.things == things


def test_the_reconciliation_of_another_environment_has_the_same_account(cloud: Cloud) -> None:
    cloud.do("setup", "dev", "prod")
    cloud.do("reconcile", "dev")

    changes = cloud.do("reconcile", "prod").changes

    assert [change.split(" model-registry-reconcile-prod ")[0] for change in changes[1:]] == [
        "gcloud functions deploy",
        "gcloud run services add-iam-policy-binding",
        "gcloud scheduler jobs create http",
    ]
    assert "buckets add-iam-policy-binding gs://ml-models-prod " in changes[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"0 3 * * *"', '"0 4 * * *"'),
        ("reconcile-dev-fmwgdkwtaq-uc.a.run.app/", "reconcile-dev-older-uc.a.run.app/"),
        (f'"serviceAccountEmail": "{RECONCILER}"', '"serviceAccountEmail": "another"'),
    ],
    ids=["schedule", "URL", "account"],
)
def test_a_job_that_is_another_is_updated(ready: Cloud, before: str, after: str) -> None:
    ready.do("reconcile", "dev")
    things, jobs = ready.things, json.dumps(ready.state["jobs"])
    assert jobs.count(before) == 1
    ready.change(jobs=json.loads(jobs.replace(before, after)))

    _, change = ready.do("reconcile", "dev").changes

    assert change.startswith("gcloud scheduler jobs update http model-registry-reconcile-dev ")
    assert ready.things == things


def test_the_reconciliation_has_its_settings_and_its_schedule(ready: Cloud) -> None:
    ready.environ |= {
        "FUNCTION_PREFIX": "acme",
        "BUCKET_PREFIX": "acme-models",
        "RECONCILE_SERVICE_ACCOUNT": "acme-reconciles",
        "REGISTRY_TABLE": "acme_registry.uploads",
    }
    ready.do("setup", "dev")

    ended = ready.do("reconcile", "--schedule", "*/20 1-5 * * mon", "dev")

    account = "acme-reconciles@soufianesys.iam.gserviceaccount.com"
    variables = f"REGISTRY_TABLE=acme_registry.uploads,BUCKET=acme-models-dev,{STARTS_FAST}"
    assert {
        f"--service-account={account}",
        f"--set-env-vars=GCP_PROJECT_ID=soufianesys,{variables}",
    } <= ended.of("gcloud functions deploy acme-reconcile-dev ").flags
    assert {"--schedule=*/20 1-5 * * mon", f"--oidc-service-account-email={account}"} <= ended.of(
        "gcloud scheduler jobs create http acme-reconcile-dev "
    ).flags


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("buckets", "bucket gs://ml-models-dev"),
        ("accounts", "service account model-registry-build@"),
        ("ml_registry.models", "table ml_registry.models"),
        ("ml_registry.vanished", "table ml_registry.vanished"),
        ("ml_registry.artifacts", "view ml_registry.artifacts"),
    ],
)
def test_what_the_reconciliation_needs_is_told_before_anything_is_changed(
    ready: Cloud, missing: str, told: str
) -> None:
    state = ready.state
    if missing in state["tables"]:
        del state["tables"][missing]
    else:
        state[missing].clear()
    ready.state = state

    ended = ready.run("reconcile", "dev")

    assert (ended.status, ended.changes) == (1, [])
    assert one_line(ended.err)
    assert f"expected the {told}" in ended.err
    assert "run deploy/setup.sh dev" in ended.err


def test_the_reconciliation_that_is_denied_something_is_completed_by_the_next_run(
    ready: Cloud,
) -> None:
    """At each of the commands that change something, and at each that looks."""
    start = ready.state
    ended = ready.do("reconcile", "dev")
    assert len(ended.changes) == 11

    def denied(at: int) -> None:
        twin = ready.twin(f"denied at {at}", start)
        twin.fault("denied", changes=True, after=at)
        stopped = twin.run("reconcile", "dev")
        assert (stopped.status, stopped.sleeps, len(stopped.changes)) == (1, [], at + 1)
        assert re.search(r"PERMISSION_DENIED|Access\s+Denied", stopped.err), stopped.err
        assert "is deployed" not in stopped.out
        twin.do("reconcile", "dev")
        assert twin.things == ready.things

    def blind(command: str) -> None:
        twin = ready.twin(f"blind {command}", start)
        twin.fault("denied", command)
        stopped = twin.run("reconcile", "dev")
        assert stopped.status == 1
        assert "denied" in stopped.err.lower()
        assert str(stopped.commands[-1]).startswith(command)

    at_once(denied, range(len(ended.changes)))
    looks = ["storage buckets get-iam-policy", "functions describe", "scheduler jobs describe"]
    at_once(blind, [f"gcloud {look}" for look in looks])


@pytest.mark.parametrize(
    "command",
    [BINDINGS["table"], "storage buckets add-iam-policy-binding", "functions deploy"],
)
def test_the_account_of_the_reconciliation_that_is_not_visible_yet_is_waited_for(
    ready: Cloud, command: str
) -> None:
    ready.fault("not visible", command, times=2)

    assert len(ready.do("reconcile", "dev").sleeps) == 2


def test_the_reconciliation_is_deleted_with_its_job_if_there_is_one(ready: Cloud) -> None:
    ready.do("dev")
    ready.do("reconcile", "dev")
    without = {**ready.state, "jobs": {}}

    changes = ready.do("delete", "reconcile-dev", "--yes").changes

    assert [line.split(" model-registry-reconcile-dev ")[0] for line in changes] == [
        "gcloud scheduler jobs delete",
        "gcloud functions delete",
    ]
    assert ready.state["jobs"] == {}
    assert [name.rpartition("/")[2] for name in ready.state["functions"]] == ["model-registry-dev"]
    ready.state = without
    assert ready.do("delete", "reconcile-dev", "--yes").changes == changes[1:]


# --- monitoring.sh --------------------------------------------------------------------------------


def test_monitoring_makes_a_metric_two_policies_and_a_place_for_dead_letters(
    deployed: Cloud,
) -> None:
    deployed.do("monitoring", "dev")

    state = deployed.state
    [(metric, definition)] = state["metrics"].items()
    assert 'service_name="model-registry-dev"' in definition["filter"]
    assert "failed" in definition["filter"]
    assert "invalid" in definition["filter"]
    first, second = state["alerts"].values()
    assert metric in json.dumps(first)
    assert "deploy/logs.sh --errors dev" in first["documentation"]["content"]
    [eventarc] = [name for name in state["subscriptions"] if name.startswith("eventarc")]
    assert (
        f'subscription_id="{eventarc}"' in second["conditions"][0]["conditionThreshold"]["filter"]
    )
    assert "${" not in json.dumps([first, second])
    topic = "projects/soufianesys/topics/model-registry-dev-dead-letter"
    assert state["subscriptions"][eventarc]["deadLetterPolicy"]["deadLetterTopic"] == topic
    [kept] = [s for s in state["subscriptions"].values() if s.get("topic") == topic]
    assert kept["expirationPolicy"] == "never"
    assert bindings(deployed, "topics/model-registry-dev-dead-letter") == {
        (PUBSUB_AGENT, "roles/pubsub.publisher")
    }
    assert bindings(deployed, f"subscriptions/{eventarc}") == {
        (PUBSUB_AGENT, "roles/pubsub.subscriber")
    }


def test_monitoring_changes_nothing_that_is_right_already(deployed: Cloud) -> None:
    deployed.do("monitoring", "dev", "--notify", CHANNEL)

    assert deployed.do("monitoring", "dev", "--notify", CHANNEL).changes == []
    assert deployed.do("monitoring", "dev").changes == []
    assert [a["notificationChannels"] for a in deployed.state["alerts"].values()] == [[CHANNEL]] * 2


def test_monitoring_tells_another_channel_too(deployed: Cloud) -> None:
    deployed.do("monitoring", "dev")
    longer = f"{CHANNEL}0"
    deployed.do("monitoring", "dev", "--notify", longer)

    changes = deployed.do("monitoring", "dev", "--notify", CHANNEL).changes

    assert len(changes) == 2
    channels = [alert["notificationChannels"] for alert in deployed.state["alerts"].values()]
    assert channels == [[longer, CHANNEL]] * 2


def test_monitoring_follows_a_function_that_was_deployed_anew(deployed: Cloud) -> None:
    """Its trigger has another subscription."""
    deployed.do("monitoring", "dev")
    state = json.dumps(deployed.state)
    [old] = {*re.findall(r"eventarc-us-[\w-]+", state)}
    deployed.do("delete", "dev", "--yes")
    deployed.do("dev")
    state = json.dumps(deployed.state)
    alerts = deployed.state["alerts"]
    deployed.state = json.loads(state.replace(old, "eventarc-us-new-sub-7"))
    deployed.change(alerts=alerts)

    deployed.do("monitoring", "dev")

    assert "eventarc-us-new-sub-7" in json.dumps(deployed.state["alerts"])
    assert "deadLetterPolicy" in deployed.state["subscriptions"]["eventarc-us-new-sub-7"]
    assert len(deployed.state["alerts"]) == 2


def test_monitoring_of_a_function_with_a_longer_name_is_another(deployed: Cloud) -> None:
    deployed.do("monitoring", "dev")
    deployed.environ["FUNCTION_PREFIX"] = "registry"
    deployed.do("dev")
    deployed.do("monitoring", "dev")

    assert len(deployed.state["alerts"]) == 4


def test_monitoring_of_what_is_not_deployed_says_what_to_do(ready: Cloud) -> None:
    ended = ready.run("monitoring", "dev")

    assert ended.status == 1
    assert "expected the function model-registry-dev" in ended.err
    assert "run deploy/dev.sh" in ended.err


def test_monitoring_waits_for_the_metric(deployed: Cloud) -> None:
    deployed.fault("metric", "monitoring policies create", times=2)

    assert len(deployed.do("monitoring", "dev").sleeps) == 2
    assert len(deployed.state["alerts"]) == 2


def test_monitoring_that_is_denied_something_is_completed_by_the_next_run(deployed: Cloud) -> None:
    start = deployed.state
    changes = deployed.do("monitoring", "dev", "--notify", CHANNEL).changes

    def denied(at: int) -> None:
        twin = deployed.twin(f"denied at {at}", start)
        twin.fault("denied", changes=True, after=at)
        ended = twin.run("monitoring", "dev", "--notify", CHANNEL)
        assert (ended.status, ended.sleeps, len(ended.changes)) == (1, [], at + 1)
        assert "PERMISSION_DENIED" in ended.err
        twin.do("monitoring", "dev", "--notify", CHANNEL)
        assert twin.things == deployed.things

    at_once(denied, range(len(changes)))


# --- verify.sh ------------------------------------------------------------------------------------


def test_verify_is_content_when_the_row_comes(deployed: Cloud) -> None:
    deployed.change(row_after=3)

    ended = deployed.do("verify", "dev")

    upload = ended.of("gcloud storage cp")
    [url] = [word for word in upload.words if word.startswith("gs://")]
    assert re.fullmatch(r"gs://ml-models-dev/registry-check/v0/\S+", url)
    assert deployed.state["objects"] == []
    assert "--all-versions" in ended.of(f"gcloud storage rm {url}").flags
    assert re.search(r"after \d+ s", ended.out)
    assert len(re.findall("^waiting for ", ended.err, re.MULTILINE)) == 2


def function_is(**changed: Any) -> Callable[[Json], None]:  # noqa: ANN401 # any field
    def change(state: Json) -> None:
        for function in state["functions"].values():
            function.update(changed)

    return change


def an_error_is_logged(state: Json) -> None:
    line = {"timestamp": "2026-03-01T12:00:00Z", "severity": "ERROR"}
    state["lines"] = [{**line, "jsonPayload": {"message": "BigQuery said no"}}]


# What is broken, and what is said of it.
BROKEN: dict[str, tuple[Callable[[Json], object], str]] = {
    "no bucket": (lambda state: state["buckets"].clear(), "bucket"),
    "no function": (lambda state: state["functions"].clear(), "function.*run deploy/dev.sh"),
    "failed function": (function_is(state="FAILED"), "function.*FAILED.*run deploy/dev.sh"),
    "no trigger": (function_is(eventTrigger={}), "trigger.*run deploy/dev.sh"),
    "no retry": (
        function_is(eventTrigger={"trigger": "t", "retryPolicy": "RETRY_POLICY_DO_NOT_RETRY"}),
        "trigger.*retry.*run deploy/dev.sh",
    ),
    "no invoker": (MISSING["run.invoker"], "permissions"),
    "no editor": (MISSING["dataEditor"], "permissions"),
    "errors": (an_error_is_logged, "function.*BigQuery said no"),
    "silence": (lambda _: None, "trigger"),
    "no table": (MISSING["table"], "table.*run deploy/setup.sh dev"),
    "no dataset": (MISSING["dataset"], "table.*run deploy/setup.sh dev"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_verify_says_which_link_is_broken_and_leaves_nothing(deployed: Cloud, broken: str) -> None:
    change, told = BROKEN[broken]
    state = {**deployed.state, "row_after": -1}
    change(state)
    deployed.state = state
    deployed.environ["VERIFY_SECONDS"] = "1"

    ended = deployed.run("verify", "dev")

    assert ended.status == 1
    assert re.search(f"the broken link: .*|{told}", ended.err, re.DOTALL)
    assert re.search(f"the {told}", ended.err.replace("is the broken link", ""), re.DOTALL)
    assert deployed.state["objects"] == []


def test_verify_tells_a_missing_table_from_a_denied_query(deployed: Cloud) -> None:
    deployed.fault("denied", "bq query")

    ended = deployed.run("verify", "dev")

    assert ended.status == 1
    assert "Access Denied" in ended.err
    assert "is not there" not in ended.err
    assert deployed.state["objects"] == []


def test_verify_reads_what_bq_wraps(deployed: Cloud) -> None:
    """The message about a missing table breaks elsewhere for each length of the project's name."""
    state = json.dumps({**deployed.state, "tables": {}})

    def verify(length: int) -> None:
        name = ("acme-model-registry-" + "x" * 20)[:length]
        twin = deployed.twin(name, json.loads(state.replace("soufianesys", name)))
        twin.environ = {"GCP_PROJECT_ID": name}
        assert "run deploy/setup.sh dev" in twin.run("verify", "dev").err

    at_once(verify, range(22, 31))


def test_verify_says_when_it_may_not_upload(deployed: Cloud) -> None:
    deployed.fault("denied", "storage cp")

    ended = deployed.run("verify", "dev")

    assert ended.status == 1
    assert "PERMISSION_DENIED" in ended.err
    assert "the bucket is the broken link" in ended.err
    assert len(ended.changes) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_verify_removes_what_it_uploaded_when_it_is_ended(
    deployed: Cloud, number: signal.Signals
) -> None:
    deployed.change(row_after=-1)
    deployed.environ["CLOUD_SLEEP"] = "30"
    with deployed.start("verify", "dev", start_new_session=True) as process:
        wait_until(lambda: any(c["tool"] == "sleep" for c in deployed.lines("commands.jsonl")))
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=20)

    assert process.returncode != 0
    assert deployed.state["objects"] == [], err


# --- delete.sh and logs.sh ------------------------------------------------------------------------


def test_delete_needs_a_yes_where_nobody_can_be_asked(deployed: Cloud) -> None:
    before = deployed.things

    ended = deployed.run("delete", "dev")

    assert (ended.status, ended.changes) == (2, [])
    assert "--yes" in ended.err
    assert deployed.things == before


def test_delete_deletes_the_function_with_its_trigger_and_nothing_else(
    deployed: Cloud, ready: Cloud, undisturbed: tuple[Cloud, Ended]
) -> None:
    assert ready is deployed
    deployed.state = json.loads(json.dumps(undisturbed[0].state))
    deployed.do("dev")

    ended = deployed.do("delete", "--yes", "dev")

    assert len(ended.changes) == 1
    assert deployed.things == undisturbed[0].things


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_delete_asks_somebody_at_a_terminal(deployed: Cloud, answer: str, left: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        ended = deployed.run("delete", "dev", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert (ended.status, len(deployed.state["functions"])) == (left, left)
    assert "model-registry-dev" in ended.err


def test_delete_of_what_is_not_there_says_so(ready: Cloud) -> None:
    ended = ready.run("delete", "dev", "--yes")

    assert (ended.status, ended.changes) == (1, [])
    assert one_line(ended.err)


def test_logs_are_readable_and_the_newest_comes_last(deployed: Cloud) -> None:
    lines: list[Json] = [
        {"severity": "ERROR", "jsonPayload": {"message": "it failed"}},
        {"severity": "INFO", "textPayload": "it began"},
        {"severity": "INFO", "jsonPayload": {"message": "registered"}},
        {"severity": "INFO", "httpRequest": {"requestUrl": "https://inventory/"}},
    ]
    for minute, line in zip((1, 0, 2, 3), lines, strict=True):
        line["timestamp"] = f"2026-03-01T12:0{minute}:30.123456Z"
    deployed.change(lines=lines)

    shown = deployed.do("logs", "dev")
    errors = deployed.do("logs", "--errors", "dev")

    assert [line.split("\t") for line in shown.out.splitlines()] == [
        ["2026-03-01 12:00:30", "INFO", "it began"],
        ["2026-03-01 12:01:30", "ERROR", "it failed"],
        ["2026-03-01 12:02:30", "INFO", "registered"],
        ["2026-03-01 12:03:30", "INFO", "https://inventory/"],
    ]
    assert "it failed" in errors.out
    assert one_line(errors.out)
    read = shown.of("gcloud logging read")
    assert 'service_name="model-registry-dev"' in read.words[2]
    for name in ("inventory", "reconcile-dev"):
        read = deployed.do("logs", name).of("gcloud logging read")
        assert f'service_name="model-registry-{name}"' in read.words[2]


def test_logs_that_may_not_be_read_are_an_error(deployed: Cloud) -> None:
    deployed.fault("denied", "logging read")

    ended = deployed.run("logs", "dev")

    assert ended.status != 0
    assert "PERMISSION_DENIED" in ended.err


# --- The real bq, on the BigQuery emulator --------------------------------------------------------


@pytest.fixture
def real_bq(cloud: Cloud, bigquery_url: str, tools: Path, tmp_path: Path) -> Cloud:
    """The cloud, but for BigQuery: that is the emulator, and its bq the real one."""
    only = tmp_path / "gcloud only"
    only.mkdir()
    for name in ("gcloud", "sleep"):
        (only / name).symlink_to(tools / name)
    (tmp_path / "bigqueryrc").write_text(f"api = {bigquery_url}\nproject_id = {PROJECT}\n")
    (tmp_path / "token").write_text("any")
    cloud.path = [only, *map(Path, os.environ["PATH"].split(os.pathsep))]
    cloud.environ |= {
        "BIGQUERYRC": str(tmp_path / "bigqueryrc"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
        "CLOUDSDK_CONFIG": str(tmp_path / "config"),
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
    }
    return cloud


def stamps(client: bigquery.Client, dataset: str) -> list[tuple[object, object]]:
    """Give what tells whether something was changed."""
    tables = [client.get_table(table.reference) for table in client.list_tables(dataset)]
    found = client.get_dataset(dataset)
    return [(found.etag, found.modified), *((table.etag, table.modified) for table in tables)]


def nine_columns(client: bigquery.Client, table: str) -> None:
    """Make a table as it was before the lineage."""
    nine = ", ".join(
        f"{name} {kind.replace('INTEGER', 'INT64')}{' NOT NULL' * (mode == 'REQUIRED')}"
        for name, kind, mode in COLUMNS[:9]
    )
    client.create_dataset(table.partition(".")[0])
    client.query_and_wait(f"CREATE TABLE {table} ({nine})")


@BQ
def test_setup_makes_the_table_and_its_access_through_the_real_bq(
    real_bq: Cloud, client: bigquery.Client
) -> None:
    """In a new project, and in one with a table of nine columns: at once, as bq takes its time."""

    def set_up(dataset: str) -> None:
        twin = real_bq.twin(dataset, new_project(PROJECT))
        twin.environ = {**real_bq.environ, "REGISTRY_TABLE": f"{dataset}.uploads"}
        twin.do("setup", "dev")

        made = {found.table_id for found in client.list_tables(dataset)}
        assert made == {"uploads", "vanished", *VIEWS}
        for name in ("uploads", "registrations"):
            found = client.get_table(f"{dataset}.{name}").schema
            assert [(f.name, f.field_type) for f in found] == [(n, kind) for n, kind, _ in COLUMNS]
        [binding] = client.get_iam_policy(f"{PROJECT}.{dataset}.uploads").bindings
        assert binding["role"] == "roles/bigquery.dataEditor"
        assert {*binding["members"]} == {f"serviceAccount:{email('dev')}"}
        entries = {(e.role, e.entity_id) for e in client.get_dataset(dataset).access_entries}
        assert ("roles/bigquery.metadataViewer", email("dev")) in entries
        assert ("OWNER", "projectOwners") in entries

        before = stamps(client, dataset)
        assert twin.do("setup", "dev").changes == []
        assert stamps(client, dataset) == before

    nine_columns(client, "set_up_again.uploads")
    try:
        at_once(set_up, ["set_up_anew", "set_up_again"])
    finally:
        for dataset in ("set_up_anew", "set_up_again"):
            client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)
