"""Google's clients, and readable messages for their errors."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from registry.bucket import Bucket
from registry.cli import main
from registry.clients import certificates, connect
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


# --- Which certificates are trusted ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["002c0b4f.0", "fffffff0.12"])
def test_the_systems_folder_is_used_if_openssl_finds_certificates_in_it(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "ca-certificates.crt").touch()
    (tmp_path / "root.pem").touch()
    (tmp_path / name).symlink_to("root.pem")

    assert certificates(str(tmp_path), {}) == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param("root.pem", "", id="a certificate without its hash"),
        pytest.param("002c0b4f.r0", "", id="a list of revoked ones"),
        pytest.param("002C0B4F.0", "", id="not as OpenSSL writes it"),
        pytest.param("002c0b4f", "", id="no number"),
        pytest.param("002c0b4f.0", "gone.pem", id="a link to nothing"),
        pytest.param("002c0b4f.0", ".", id="a link to a folder"),
    ],
)
def test_a_folder_in_which_openssl_finds_none_is_not_used(
    name: str, target: str, tmp_path: Path
) -> None:
    if target:
        (tmp_path / name).symlink_to(target)
    else:
        (tmp_path / name).touch()

    assert certificates(str(tmp_path), {}) is None


def test_a_folder_that_is_empty_or_missing_or_no_folder_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()

    for name in ("empty", "missing", "file"):
        assert certificates(str(tmp_path / name), {}) is None


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({"REQUESTS_CA_BUNDLE": "/a"}, "/a"),
        ({"CURL_CA_BUNDLE": "/b"}, "/b"),
        ({"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"}, "/a"),
        ({"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}, None),
    ],
)
def test_what_somebody_has_set_stays_in_force(
    environ: dict[str, str], chosen: str | None, tmp_path: Path
) -> None:
    (tmp_path / "002c0b4f.0").touch()

    assert certificates(str(tmp_path), environ) == (chosen or str(tmp_path))
