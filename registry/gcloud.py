"""Google's own command line: the project that a person has chosen, and commands to paste."""

import configparser
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

# https://docs.cloud.google.com/storage/docs/wildcards: there is no way to escape one.
_NOT_A_NAME = re.compile(r"[*?\[\]]|#[0-9]+\Z")


def storage(*words: str, name: str) -> str:
    """
    Return a command of `gcloud storage` for an object, as a line to paste into a shell.

    It is a comment if gcloud cannot name the object.

    >>> storage("rm", "gs://ml-models-dev/churn/v3/a b", name="churn/v3/a b")
    "gcloud storage rm 'gs://ml-models-dev/churn/v3/a b'"
    >>> storage("rm", "gs://ml-models-dev/churn/v3/*", name="churn/v3/*")
    "# gcloud reads this name as a pattern or a generation: gcloud storage rm 'gs://ml-models-dev/churn/v3/*'"
    """
    line = " ".join(map(_quoted, ("gcloud", "storage", *words)))
    if _NOT_A_NAME.search(name):
        return f"# gcloud reads this name as a pattern or a generation: {line}"
    return line


def _quoted(word: str) -> str:
    """Quote a word for bash and zsh; what a terminal would obey, such as a colour, is escaped."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(map(_escaped, escaped))}'"


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


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
