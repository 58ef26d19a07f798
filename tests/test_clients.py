"""Google's clients, and readable messages for their errors."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from registry.bucket import Bucket
from registry.cli import main
from registry.clients import connect
from registry.errors import NoCredentials
from registry.settings import Settings
from tests import PROJECT

SETTINGS = Settings(project=PROJECT, table="d.t", emulated=False)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: connect(SETTINGS), id="table"),
        pytest.param(lambda: Bucket.connect(SETTINGS, "b-dev"), id="bucket"),
        pytest.param(
            lambda: main(["models", "--project", PROJECT], standalone_mode=False),
            id="command line",
        ),
    ],
)
def test_without_credentials_the_remedy_is_to_log_in(
    ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")

    with pytest.raises((NoCredentials, click.ClickException)) as refused:
        ask()

    assert "run gcloud auth application-default login" in str(refused.value)
    if isinstance(refused.value, click.ClickException):
        assert refused.value.exit_code == 2
        assert len(refused.value.message.splitlines()) == 1


@pytest.mark.parametrize("path", [".", "missing.json"])
def test_a_broken_file_of_credentials_is_reported(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / path))

    with pytest.raises(NoCredentials, match=str(tmp_path)):
        connect(SETTINGS)
