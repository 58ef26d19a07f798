"""The project that a person has chosen for Google's own tools."""

import configparser
from collections.abc import Mapping
from pathlib import Path


def project(environ: Mapping[str, str]) -> str:
    """
    Return the project; empty without one.

    It is in the first of GOOGLE_CLOUD_PROJECT, CLOUDSDK_CORE_PROJECT and gcloud's active
    configuration. We read gcloud's files, as gcloud itself takes a second to start.
    """
    return (
        environ.get("GOOGLE_CLOUD_PROJECT")
        or environ.get("CLOUDSDK_CORE_PROJECT")
        or _configured(environ)
    )


def _configured(environ: Mapping[str, str]) -> str:
    home = Path(environ.get("HOME", "/"), ".config/gcloud")
    folder = Path(environ.get("CLOUDSDK_CONFIG") or home)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        active = folder / "active_config"
        name = environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME") or (
            active.read_text().strip() if active.exists() else "default"
        )
        parser.read(folder / f"configurations/config_{name}")
    except (OSError, ValueError, configparser.Error):  # not ours to report
        return ""
    return parser.get("core", "project", fallback="")
