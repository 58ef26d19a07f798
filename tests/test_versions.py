"""A version with its files in each environment, without a page."""

from collections.abc import Sequence
from datetime import UTC, datetime

from registry.rows import Artifact, ModelVersionFiles
from registry.versions import Place, Version
from tests.page_states import make

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def artifact(name: str, environment: str, **columns: object) -> Artifact:
    values = {"environment": environment, "gcs_path": f"m/v1/{name}", "metadata": None, **columns}
    return make(Artifact, **values)


def row(
    environment: str,
    artifacts: Sequence[Artifact],
    number: int = 1,
    removed_at: datetime | None = None,
    **named: Sequence[str],
) -> ModelVersionFiles:
    return make(
        ModelVersionFiles,
        model_version=number,
        environment=environment,
        removed_at=removed_at,
        artifacts=artifacts,
        **{f"{kind}_files": names for kind, names in named.items()},
    )


def states(version: Version) -> dict[str, list[str]]:
    return {file.name: [cell.words for cell in file.cells] for file in version.files(99)}


def test_each_file_says_how_it_is_in_each_environment() -> None:
    version = Version(
        number=1,
        rows=[
            row("dev", [artifact(name, "dev") for name in ("a", "b", "c", "e")]),
            row(
                "staging",
                [
                    artifact("a", "staging"),
                    artifact("b", "staging", crc32c="B"),
                    artifact("d", "staging"),
                    artifact("e", "staging", crc32c=None),
                    artifact("f", "staging", removed_at=NOON),
                ],
                different=["b"],
                missing=["c"],
                extra=["d"],
            ),
        ],
    )

    assert states(version) == {
        "b": ["here", "changed"],
        "c": ["here", "missing here"],
        "d": ["-", "only here"],
        "a": ["here", "same"],
        "e": ["here", "here"],  # nobody knows without a checksum
        "f": ["-", "removed"],
    }
    assert [file.artifact.environment for file in version.files(2)] == ["staging", "staging"]
    assert [*states(version)][:3] == ["b", "c", "d"]  # what is not the same comes first


def test_more_files_than_the_view_names_are_compared_here() -> None:
    names = [f"{number:02}" for number in range(12)]
    changed = Version(
        number=1,
        rows=[
            row("dev", [artifact(name, "dev") for name in names]),
            row(
                "staging",
                [artifact(name, "staging", crc32c="B") for name in names],
                different=names[:10],
            ),
            row("prod", [artifact("x", "prod")], missing=names[:10], extra=["x"]),
        ],
    )

    assert states(changed)["11"] == ["here", "changed", "missing here"]
    # The view does not compare .DS_Store. As long as it names all, it is right.
    ignored = Version(
        number=1,
        rows=[
            row("dev", [artifact(".DS_Store", "dev")]),
            row("staging", [artifact(".DS_Store", "staging", crc32c="B")]),
        ],
    )
    assert states(ignored) == {".DS_Store": ["here", "here"]}


def test_metadata_of_all_files_is_that_of_the_version() -> None:
    version = Version(
        number=1,
        rows=[
            row(
                "dev",
                [
                    artifact("a", "dev", metadata={"auc": "0.9", "run_id": "r", "note": "x"}),
                    artifact("b", "dev", metadata={"auc": "0.9", "run_id": "r", "size": 3}),
                    artifact("c", "dev"),
                ],
            ),
            row("staging", [artifact("a", "staging", metadata={"auc": "0.9", "run_id": "r"})]),
        ],
    )

    assert version.metadata == [("run_id", "r"), ("auc", "0.9")]
    first, second, third = version.files(9)
    assert first.metadata == [("note", "x", "dev")]
    assert second.metadata == [("size", "3", "")]
    assert third.metadata == []
    assert Version(number=1, rows=[row("dev", [])]).metadata == []


def test_of_each_environment_the_highest_version_that_is_there_is_shown() -> None:
    removed = row("dev", [], number=9, removed_at=NOON)

    dev, staging, prod = Place.of([row("dev", [], number=2), removed, row("dev", [], number=1)])
    assert dev.current
    assert dev.current.model_version == 2
    assert (staging.row, staging.current, prod.current) == (None, None, None)
    gone, *_ = Place.of([removed])
    assert (gone.row, gone.current) == (removed, None)
