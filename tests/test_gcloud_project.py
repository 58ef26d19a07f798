"""The project that a person has chosen for gcloud, and commands to paste."""

import subprocess
from pathlib import Path

import pytest

from registry.gcloud import project, storage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of gcloud, with two configurations; work is the active one."""
    gcloud = tmp_path / ".config/gcloud"
    (gcloud / "configurations").mkdir(parents=True)
    (gcloud / "active_config").write_text("work\n")
    (gcloud / "configurations/config_work").write_text("[core]\nproject = at-work\naccount = a%b\n")
    (gcloud / "configurations/config_default").write_text("[core]\nproject = mine\n")
    (gcloud / "configurations/config_empty").write_text("[compute]\nzone = z\n")
    (gcloud / "configurations/config_torn").write_text("project = mine\n")
    (gcloud / "configurations/config_binary").write_bytes(b"\xff\xfe")
    return gcloud


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "at-work"),
        ({"GOOGLE_CLOUD_PROJECT": "first", "CLOUDSDK_CORE_PROJECT": "second"}, "first"),
        ({"GOOGLE_CLOUD_PROJECT": "", "CLOUDSDK_CORE_PROJECT": "second"}, "second"),
        ({"CLOUDSDK_ACTIVE_CONFIG_NAME": "default"}, "mine"),
        ({"CLOUDSDK_ACTIVE_CONFIG_NAME": "empty"}, ""),
        ({"CLOUDSDK_ACTIVE_CONFIG_NAME": "torn"}, ""),
        ({"CLOUDSDK_ACTIVE_CONFIG_NAME": "binary"}, ""),
        ({"CLOUDSDK_ACTIVE_CONFIG_NAME": "none"}, ""),
        ({"CLOUDSDK_ACTIVE_CONFIG_NAME": "nul\0"}, ""),
        ({"CLOUDSDK_CONFIG": "/nowhere"}, ""),
    ],
)
def test_the_first_project_that_is_set_counts(
    tmp_path: Path, environ: dict[str, str], expected: str
) -> None:
    assert project({"HOME": str(tmp_path), **environ}) == expected


def test_a_folder_somewhere_else_counts_and_needs_no_active_configuration(folder: Path) -> None:
    (folder / "active_config").unlink()

    assert project({"CLOUDSDK_CONFIG": str(folder)}) == "mine"


def test_a_shell_reads_a_command_as_it_is_meant_and_a_terminal_obeys_none_of_it() -> None:
    name = "\x1b[31m it's \\x41 $HOME `x` é\u200b\x9b"

    line = storage("rm", f"gs://b/{name}", name=name.replace("[", ""))

    read = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    )
    assert read.stdout.split("\n") == ["gcloud", "storage", "rm", f"gs://b/{name}", ""]
    assert line.isprintable()
