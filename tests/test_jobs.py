"""The way from training to release in registry/README.md, command by command, with real clients."""

import itertools
import os
import pty
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests import ROOT
from tests.servers.local import Local

README = ROOT / "registry/README.md"
SECTION = re.compile(r"(?<=^## From training to release\n).*?(?=^## )", re.DOTALL | re.MULTILINE)
STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ |```).*\n)*)", re.MULTILINE)
# What is another one in each run.
CHANGES = [r"\d{4}-\d\d-\d\d", r"\d\d:\d\d(:\d\d)?(\.\d+)?", r"\b1[67]\d{14}\b", r"\d+(\.\d+)? s\b"]
SEEN_WITHIN = 60.0


def comparable(output: str) -> list[str]:
    """Return the lines without what changes from run to run."""
    for pattern in CHANGES:
        output = re.sub(pattern, lambda found: "#" * len(found[0]), output)
    return output.splitlines()


def on_a_terminal(command: str, folder: Path, environ: dict[str, str]) -> str:
    """Run a command as a person does; return what the terminal shows."""
    primary, secondary = pty.openpty()
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=secondary,
        stderr=secondary,
    ):
        os.close(secondary)
        shown = b""
        while True:
            try:
                shown += os.read(primary, 65536)
            except OSError:  # all programs have ended
                break
    os.close(primary)
    return shown.decode().replace("\r\n", "\n")


@pytest.fixture
def environ(system: Local, tmp_path: Path) -> dict[str, str]:
    """What a person's shell has: the command line is installed, and gcloud talks to the system."""
    installed = tmp_path / "bin" / "model-registry"
    installed.parent.mkdir()
    python = ROOT / ".venv/bin/python"
    installed.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{python}" -m registry "$@"\n')
    installed.chmod(0o755)
    return {
        **os.environ,
        **system.exports,
        "PATH": f"{installed.parent}:{os.environ['PATH']}",
        "TERM": "dumb",  # without colours, and 80 columns wide
    }


def test_each_job_is_done_by_its_command_and_prints_what_is_written(
    environ: dict[str, str], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """With --golden the README gets what is printed now."""
    [section] = SECTION.findall(README.read_text())
    for content, name in itertools.product(("v1", "v2"), ("model.pkl", "vocabulary.txt")):
        (tmp_path / content).mkdir(exist_ok=True)
        (tmp_path / content / name).write_text("words" if name == "vocabulary.txt" else content)
    golden: bool = pytestconfig.getoption("golden")
    seen: list[str] = []

    for command, expected in STEP.findall(section):
        deadline = time.monotonic() + SEEN_WITHIN
        while True:
            if golden:
                time.sleep(1)  # events are on the way
            shown = re.sub(" +$", "", on_a_terminal(command, tmp_path, environ), flags=re.MULTILINE)
            if golden or comparable(shown) == comparable(expected):
                seen.append(shown)
                break
            assert time.monotonic() < deadline, (command, shown)
            time.sleep(0.2)

    if golden:
        text = STEP.sub(lambda step: f"$ {step[1]}\n{seen.pop(0)}", section)
        README.write_text(README.read_text().replace(section, text))
