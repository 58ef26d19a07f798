"""The command line as people install it: from a wheel, into an environment of its own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from registry.__main__ import run
from tests import ROOT
from tests.pins import UV

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = f"model-registry {PROJECT['project']['version']}\n"


def command(*words: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    unwanted = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    environ = {name: value for name, value in os.environ.items() if name not in unwanted}
    return subprocess.run(
        words, cwd=cwd, env=environ, check=check, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has a real wheel with its extra, in the versions of the tests."""
    folder = tmp_path_factory.mktemp("install")
    build: list[str | Path] = [UV, "build", "--quiet", "--wheel", "--python", sys.executable]
    command(*build, "--out-dir", folder, ROOT, cwd=folder)
    [wheel] = folder.glob("*.whl")
    command(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    install: list[str | Path] = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        folder / "venv/bin/python",
    ]
    pins: list[str | Path] = ["--constraint", ROOT / "tests/requirements.txt"]
    command(*install, *pins, f"{wheel}[cli]", cwd=folder)
    return folder / "venv/bin"


def test_an_installed_command_runs_in_any_folder(bin_folder: Path, tmp_path: Path) -> None:
    program = bin_folder / "model-registry"

    version = command(program, "--version", cwd=tmp_path).stdout
    usage = command(program, "--help", cwd=tmp_path).stdout

    assert version == VERSION
    assert usage.startswith("Usage: model-registry ")
    packages = {path.name for path in bin_folder.parent.glob("lib/*/site-packages/*")}
    assert packages >= {"click", "rich", "google_crc32c"}
    assert packages.isdisjoint({"flask", "functions_framework", "jinja2"})  # the functions' own


def test_without_the_extra_the_command_says_what_to_install(
    bin_folder: Path, tmp_path: Path
) -> None:
    python = bin_folder / "python"
    command(UV, "pip", "uninstall", "--quiet", "--python", python, "rich", cwd=tmp_path)

    result = command(bin_folder / "model-registry", "models", cwd=tmp_path, check=False)

    assert result.returncode == 2
    assert result.stderr == (
        "Error: expected the packages of the command line, found no rich:"
        " install model-registry[cli]\n"
    )


def test_a_checkout_knows_its_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["registry", "--version"])

    with pytest.raises(SystemExit, match="0"):
        run()

    assert capsys.readouterr().out == VERSION


def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, where coverage is measured."""
    monkeypatch.delitem(sys.modules, "registry.cli")
    monkeypatch.setitem(sys.modules, "click", None)

    with pytest.raises(SystemExit, match="2"):
        run()

    assert capsys.readouterr().err.endswith("found no click: install model-registry[cli]\n")
