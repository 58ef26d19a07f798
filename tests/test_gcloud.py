"""What the real gcloud and bq make of the scripts: their commands, what is uploaded, BigQuery."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from google.cloud import bigquery

from tests import PROJECT, ROOT
from tests.cloud import server
from tests.cloud.project import Json, new_state
from tests.conftest import tracked, uploaded
from tests.servers.emulator import VIEWS
from tests.servers.scripts import Cloud, Ended
from tests.test_bigquery import COLUMNS

GCLOUD = pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
BQ = pytest.mark.skipif(not shutil.which("bq"), reason="bq is not installed")


def gcloud(config: Path, *words: object, cwd: Path = ROOT) -> str:
    """Run the real gcloud; return what it prints."""
    return printed(["gcloud", *map(str, words)], config, cwd)


def printed(command: Sequence[str], config: Path, cwd: Path = ROOT) -> str:
    """Run a command with gcloud's settings for a test; return what it prints."""
    settings = {
        "CLOUDSDK_CONFIG": str(config),
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }
    return subprocess.run(
        command, env={**os.environ, **settings}, cwd=cwd, capture_output=True, text=True, check=True
    ).stdout


def in_gcloud(config: Path, code: str, *arguments: object) -> str:
    """Run code in gcloud's own Python, with its libraries; return what it prints."""
    wanted = "value(installation.sdk_root,basic.python_location)"
    root, python = gcloud(config, "info", f"--format={wanted}").split()
    libraries = f"import sys; sys.path[:0] = {[f'{root}/lib', f'{root}/lib/third_party']}"
    return printed([python, "-S", "-c", libraries + code, *map(str, arguments)], config)


# Its linter makes gcloud's tree of commands anew, twice for each command: here once for them all.
LINT = """
from googlecloudsdk import gcloud_main
tree = gcloud_main.CreateCLI([])
gcloud_main.CreateCLI = lambda *_, **__: tree
gcloud_main.main()
"""
ARCHIVE = """
from googlecloudsdk.command_lib.util import gcloudignore
from googlecloudsdk.core.util import archive
chosen = gcloudignore.GetFileChooserForDir(sys.argv[1]).IsIncluded
archive.MakeZipFromDir(sys.argv[2], sys.argv[1], predicate=chosen)
"""


def written_commands() -> list[str]:
    """Return gcloud's commands in the READMEs, and in what --dry-run prints."""
    found = []
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("tests/deploy/*.txt")]:
        text = path.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in "\n".join(blocks or [text] * (path.suffix == ".txt")).splitlines():
            found += re.findall(r"^(?:\$ )?(gcloud [a-z]+ .*)", line)
            found += re.findall(r"\$\((gcloud (?:[^()']|'[^']*')*)\)", line)
        if path.suffix == ".md":
            found += re.findall(r"`(gcloud [a-z]+ [a-z][^`]*)`", text)
    return found


@GCLOUD
def test_gcloud_knows_every_command_that_is_written_or_run(
    ran: dict[str, tuple[list[Json], Ended]], tmp_path: Path
) -> None:
    bad = "gcloud storage ls --no-such-option"
    lines = [bad, *written_commands()]
    for _, ended in ran.values():
        lines += [str(c) for c in ended.commands if c.tool == "gcloud"]
        lines += re.findall("^gcloud .*", ended.out, re.MULTILINE)
    # What differs only in an environment or a role is checked once.
    lines = [re.sub(r"\b(staging|prod)\b", "dev", line) for line in lines]
    lines = [re.sub(r"\broles/[\w.]+", "roles/viewer", line) for line in lines]
    # The checker reads a # as a comment, and joins what it takes for a flag and its value.
    file = tmp_path / "commands.json"
    file.write_text(json.dumps([{"command_string": line} for line in dict.fromkeys(lines)]))

    words = ["meta", "lint-gcloud-commands", f"--commands-file={file}"]
    checked = json.loads(in_gcloud(tmp_path, LINT, *words))

    assert len(checked) > 40
    wrong = {c["command_string"]: c["error_message"] for c in checked if not c["success"]}
    assert "unrecognized arguments" in wrong.pop(bad)
    assert wrong == {}


@GCLOUD
def test_only_what_the_function_needs_is_uploaded(tmp_path: Path) -> None:
    names = tracked()
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

    listed = gcloud(tmp_path / "config", "meta", "list-files-for-upload", cwd=copy)

    assert len(uploaded()) > 10
    assert {*listed.split()} == uploaded()
    assert archived(copy, tmp_path / "source.zip") == uploaded()


def archived(folder: Path, archive: Path) -> set[str]:
    """
    Return the files that a deploy sends.

    A deploy reads the same file in its own way: without `!.` it leaves out what is directly in the
    folder. So the CLI's own code makes the archive here.
    """
    in_gcloud(archive.parent / "config", ARCHIVE, folder, archive)
    with zipfile.ZipFile(archive) as sent:
        return {name for name in sent.namelist() if not name.endswith("/")}


# --- The real bq, on the BigQuery emulator --------------------------------------------------------

# The emulator knows neither GRANT nor who has which role: these go to the double.
BOTH = """\
#!/bin/sh
case "$*" in
  *GRANT* | *OBJECT_PRIVILEGES*) exec {double} "$@" ;;
  *) exec {real} "$@" ;;
esac
"""


@pytest.fixture
def real_bq(google: Callable[[Json], Cloud], bigquery_url: str, tmp_path: Path) -> Cloud:
    """A new project, whose bq is the real one on the emulator."""
    cloud = google(new_state(PROJECT))
    both = server.tools(tmp_path, "gcloud", "sleep") / "bq"
    both.write_text(BOTH.format(double=cloud.path[0] / "bq", real=shutil.which("bq")))
    both.chmod(0o755)
    (tmp_path / "bigqueryrc").write_text(f"api = {bigquery_url}\nproject_id = {PROJECT}\n")
    cloud.project.token_file = str(tmp_path / "token")
    (tmp_path / "token").write_text("any")
    cloud.path = [tmp_path, *map(Path, os.environ["PATH"].split(os.pathsep))]
    cloud.environ |= {
        "BIGQUERYRC": str(tmp_path / "bigqueryrc"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
        "CLOUDSDK_CONFIG": str(tmp_path / "config"),
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
    }
    return cloud


def stamps(client: bigquery.Client, dataset: str) -> list[object]:
    """Return when the tables last changed; a view or a function may be replaced by itself."""
    tables = [client.get_table(f"{dataset}.{name}") for name in ("uploads", "removals")]
    return [(table.table_id, table.modified) for table in tables]


@BQ
def test_setup_makes_the_tables_and_views_through_the_real_bq(
    real_bq: Cloud, client: bigquery.Client
) -> None:
    dataset = make_double(real_bq, "set_up_anew")
    try:
        real_bq.do("setup", "dev")
        assert_complete(client, dataset)
    finally:
        client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)


@BQ
def test_setup_updates_an_old_table_and_another_view_and_then_changes_no_table(
    real_bq: Cloud, client: bigquery.Client
) -> None:
    dataset = make_double(real_bq, "set_up_again")
    columns = ", ".join(
        f"{name} {kind.replace('INTEGER', 'INT64')}{' NOT NULL' * (mode == 'REQUIRED')}"
        for name, kind, mode in COLUMNS[:9]
    )
    client.create_dataset(dataset)
    client.query_and_wait(f"CREATE TABLE {dataset}.uploads ({columns})")
    client.query_and_wait(f"CREATE VIEW {dataset}.promotions AS SELECT 1 AS one")
    location = client.get_dataset(dataset).location
    real_bq.state["datasets"][dataset]["location"] = location
    try:
        real_bq.do("setup", "dev")
        assert_complete(client, dataset)
        before = stamps(client, dataset)
        real_bq.do("setup", "dev")
        assert stamps(client, dataset) == before
        real_bq.do("dev")  # finds everything that it needs
    finally:
        client.delete_dataset(dataset, delete_contents=True, not_found_ok=True)


def make_double(cloud: Cloud, dataset: str) -> str:
    """Let the double, which answers who has which role, know a dataset; return its name."""
    cloud.state["tables"][f"{dataset}.removals"] = []
    cloud.environ["REGISTRY_TABLE"] = f"{dataset}.uploads"
    cloud.state["datasets"][dataset] = {"location": "us-central1"}
    cloud.state["tables"][f"{dataset}.uploads"] = []
    return dataset


def assert_complete(client: bigquery.Client, dataset: str) -> None:
    """Check the tables and the views, and their columns."""
    made = {found.table_id for found in client.list_tables(dataset)}
    functions = {f"{view}_at" for view in VIEWS}  # the emulator lists them as if they were tables
    assert made == {"uploads", "removals", *VIEWS, *functions}
    columns = [(name, kind) for name, kind, _ in COLUMNS]
    for name, more in (("uploads", []), ("registrations", [("removed_at", "TIMESTAMP")])):
        found = client.get_table(f"{dataset}.{name}").schema
        assert [(field.name, field.field_type) for field in found] == columns + more
    assert client.get_table(f"{dataset}.promotions").schema[0].name == "model_name"
