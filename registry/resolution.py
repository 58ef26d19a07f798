"""Which version is meant by a model, an environment, and perhaps a number."""

from collections.abc import Iterable, Sequence

from registry.environment import Environment
from registry.errors import Refused
from registry.rows import NAMED_FILES, NAMED_VERSIONS, Comparison, ModelVersion


def resolve[V: ModelVersion](
    rows: Sequence[V],
    model: str,
    version: int | None,
    environment: Environment,
    *,
    incomplete: bool = False,
) -> V:
    """
    Return the version of a model that is in an environment; without a number, the highest.

    `rows` are the model's versions in all environments. A copy that lacks files is refused: a model
    that is loaded from it may be wrong without an error.

    Raises:
        Refused: It is not there, or not complete.
    """
    there = {row.model_version: row for row in rows if _is_in(row, environment)}
    if version is None and there:
        version = max(there)
    if version is None or version not in there:
        raise Refused(_not_there(rows, model, version, environment))
    found = there[version]
    if found.comparison == Comparison.INCOMPLETE and not incomplete:
        raise Refused(_incomplete(found, there.values()))
    return found


def nearest(versions: Iterable[int], version: int) -> str:
    """
    Name the versions that are nearest to one that is not there.

    >>> nearest([1, 2, 3, 4, 5, 8, 9], 7)
    'v3, v4, v5, v8, v9'
    """
    by_distance = sorted(set(versions), key=lambda one: (abs(one - version), one))
    return ", ".join(f"v{one}" for one in sorted(by_distance[:NAMED_VERSIONS]))


def _is_in(row: ModelVersion, environment: str) -> bool:
    return row.environment == environment and row.removed_at is None


def _not_there(
    rows: Sequence[ModelVersion], model: str, version: int | None, environment: Environment
) -> str:
    if version is None:
        places = [place for place in Environment if any(_is_in(row, place) for row in rows)]
        return f"expected a version of {model} in {environment}, found {_in(places)}"
    expected = f"expected {model} v{version} in {environment}, found"
    same = [row for row in rows if row.model_version == version]
    if places := [place for place in Environment if any(_is_in(row, place) for row in same)]:
        return f"{expected} {_in(places)}: it has to be promoted first"
    for row in same:
        if row.environment == environment and row.removed_at:
            return f"{expected} that it was removed on {row.removed_at:%Y-%m-%d %H:%M} UTC"
    others = nearest((row.model_version for row in rows if _is_in(row, environment)), version)
    return f"{expected} {others or 'no version there'}"


def _in(places: Sequence[Environment]) -> str:
    return f"it in {' and '.join(places)} only" if places else "none anywhere"


def _incomplete(found: ModelVersion, there: Iterable[ModelVersion]) -> str:
    missing = ", ".join(found.missing_files)
    more = " and perhaps more" if len(found.missing_files) == NAMED_FILES else ""
    whole = [row.model_version for row in there if row.comparison != Comparison.INCOMPLETE]
    another = f", or ask for v{max(whole)}, the highest that is complete" if whole else ""
    return (
        f"expected all files of {found.model_name} v{found.model_version} in {found.environment},"
        f" found that it lacks {missing}{more}, which {found.before} has: promote the rest"
        f"{another}, or add --incomplete"
    )
