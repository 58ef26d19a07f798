"""Where a version's files go below a folder: hostile names, and what cannot be checked."""

from typing import Any

import pytest

from registry.errors import Refused
from registry.placement import place
from registry.rows import Artifact


def named(*names: str, **columns: Any) -> list[Artifact]:  # noqa: ANN401 - any columns
    """Make rows of files, by their names in the bucket."""
    facts = {"environment": "dev", "gcs_bucket": "b", "generation": 1, "file_size_bytes": 0}
    empty: dict[str, Any] = dict.fromkeys(Artifact.__dataclass_fields__)
    return [
        Artifact(**{**empty, **facts, "crc32c": "AAAAAA==", "gcs_path": name, **columns})
        for name in names
    ]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["m/v1/../../x"], r"a part of it is \.\."),
        (["m/v1/a/./b"], r"a part of it is \.$"),
        (["m/v1//etc/passwd"], "a slash at its beginning"),
        (["m/v1/a//b"], "a doubled one"),
        (["m/v1/a/"], "a slash at its beginning, at its end"),
        (["m/v1/a\0b"], "it has a NUL"),
        (["m/v1/" + "é" * 128], "longer than 255 bytes"),
        (["m/v1/a", "m/v1/a/b"], "expected 'a' to be a file or a folder, found both"),
        (["m/v1/a/b", "m/v1/a/b/c/d"], "expected 'a/b' to be a file or a folder, found both"),
        (
            ["m/v1/a", "m/v01/a"],
            "expected one file 'a', found gs://b/m/v1/a#1 and gs://b/m/v01/a#1$",
        ),
    ],
)
def test_a_name_that_no_folder_can_hold_is_refused(names: list[str], reason: str) -> None:
    with pytest.raises(Refused, match=f"^expected .*{reason}|^{reason}"):
        place(named(*names))


@pytest.mark.parametrize("column", ["generation", "file_size_bytes", "crc32c"])
def test_a_file_that_cannot_be_checked_is_refused(column: str) -> None:
    with pytest.raises(Refused, match="run model-registry reconcile dev, which completes it"):
        place(named("m/v1/a", **{column: None}))


def test_files_of_both_folders_of_a_version_are_placed_by_path() -> None:
    assert [one.path for one in place(named("m/v1/b", "m/v01/a b"))] == ["a b", "b"]
