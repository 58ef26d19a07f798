"""The views in plain Python, and random histories to compare the two on."""

import random
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from tests.histories import CHECKSUMS, Values, at, removed, written

EFFECTS = {"arrived": 1, "reappeared": 1, "removed": -1}  # on the number of files
BEFORE = {"staging": "dev", "prod": "staging"}
NOT_COMPARED = ".DS_Store"
FOLDERS = ["v1", "v1", "v01", "v2", "v10"]
NAMES = ["a", "a", "b", NOT_COMPARED]


def expected_of(rows: list[Values], time: datetime) -> dict[str, list[Values]]:
    """Return what the views hold of one model as of a time, in the plainest way."""
    artifacts = _artifacts(rows, time)
    versions = _model_versions(artifacts)
    return {
        "artifacts": [_artifact(writes) for writes in artifacts.values()],
        "changes": _changes(rows, artifacts, time),
        "model_versions": versions,
        "promotions": [
            _promotion(number, list(of_number))
            for number, of_number in groupby(versions, key=lambda row: row["model_version"])
        ],
        "latest_models": _latest_models(versions),
    }


def _artifacts(rows: list[Values], time: datetime) -> dict[tuple[str, str], list[Values]]:
    """Return the writes of each path, the oldest first, each with the best that is known of it."""
    writes: dict[Any, Values] = {}
    for row in sorted(rows, key=_worth):
        # In these histories each moment has one write of a model.
        if "removed_at" not in row and row["upload_timestamp"] <= time:
            key = (row["environment"], row["gcs_path"], row["upload_timestamp"])
            writes.setdefault(key, row | {"removed_at": _removed_at(key, rows, time)})
    artifacts = defaultdict(list)
    for (environment, path, _), write in sorted(writes.items(), key=lambda item: item[0]):
        artifacts[environment, path].append(write)
    return artifacts


def _worth(row: Values) -> tuple[bool, bool, timedelta]:
    """Order rows of one write: the one that knows most first, of these the last."""
    since = timedelta(0) if "removed_at" in row else at(0) - row["registered_at"]
    return row["generation"] is None, row.get("crc32c") is None, since


def _turns(key: object, rows: list[Values], time: datetime) -> list[tuple[datetime, bool]]:
    """Return when a write was said to be no longer live, or live again, in order."""
    return sorted(
        (row["removed_at"] or row["recorded_at"], row["removed_at"] is None)
        for row in rows
        if "removed_at" in row
        and key == (row["environment"], row["gcs_path"], row["upload_timestamp"])
        and (row["removed_at"] or row["recorded_at"]) <= time
    )


def _removed_at(key: object, rows: list[Values], time: datetime) -> datetime | None:
    since = None
    for moment, is_live in _turns(key, rows, time):
        since = None if is_live else since or moment
    return since


def _artifact(writes: list[Values]) -> Values:
    names = ("environment", "gcs_path", "generation", "crc32c", "file_size_bytes", "removed_at")
    newest = {name: writes[-1][name] for name in names}
    return {
        "model_version": _number(newest["gcs_path"]),
        "first_upload_timestamp": writes[0]["upload_timestamp"],
        "overwrites": len(writes) - 1,
        **newest,
    }


def _number(path: str) -> int:
    return int(path.split("/", maxsplit=1)[0].removeprefix("v"))


def _model_versions(artifacts: dict[tuple[str, str], list[Values]]) -> list[Values]:
    versions = defaultdict(list)
    for (environment, path), writes in artifacts.items():
        versions[_number(path), environment].append(writes)
    return [
        {
            "model_version": number,
            "environment": environment,
            **_model_version(files),
            **_compared(versions, number, environment),
        }
        for (number, environment), files in sorted(versions.items())
    ]


def _model_version(files: list[list[Values]]) -> Values:
    newest = [writes[-1] for writes in files]
    there = [write for write in newest if write["removed_at"] is None]
    return {
        "files": len(there),
        "total_bytes": sum(write["file_size_bytes"] for write in there),
        "first_upload_timestamp": min(writes[0]["upload_timestamp"] for writes in files),
        "last_upload_timestamp": max(write["upload_timestamp"] for write in newest),
        "uploaders": sorted({write["uploader"] for write in there or newest} - {None}),
        "overwrites": sum(len(writes) - 1 for writes in files),
        "removed_at": None if there else max(write["removed_at"] for write in newest),
    }


def _contents(files: list[list[Values]]) -> tuple[dict[str, set[Any]], set[str]]:
    """Return the contents of each name, and the names that were there to the end."""
    newest = [writes[-1] for writes in files]
    gone_at = [write["removed_at"] for write in newest]
    contents = defaultdict(set)
    to_the_end = set()
    for write in newest:
        name = write["gcs_path"].split("/")[1]
        is_there = write["removed_at"] is None
        if name == NOT_COMPARED or not (is_there or None not in gone_at):
            continue
        contents[name].add(write["crc32c"] and (write["crc32c"], write["file_size_bytes"]))
        if is_there or write["removed_at"] >= max(gone_at) - timedelta(hours=1):
            to_the_end.add(name)
    return contents, to_the_end


def _compared(versions: dict[tuple[int, str], Any], number: int, environment: str) -> Values:
    comparison, different, missing, extra = None, set(), set(), set()
    before = versions.get((number, BEFORE.get(environment, "")))
    files = versions[number, environment]
    if environment in BEFORE and any(writes[-1]["removed_at"] is None for writes in files):
        here, _ = _contents(files)
        there, to_the_end = _contents(before or [])
        known = {
            name for name in here.keys() & there.keys() if None not in here[name] | there[name]
        }
        different = {name for name in known if here[name] != there[name]}
        missing, extra = to_the_end - here.keys(), here.keys() - there.keys()
        if before is None:
            comparison, extra = "skipped", set()
        elif different or extra:
            comparison = "different"
        elif any(None in contents for contents in [*here.values(), *there.values()]):
            comparison = "unknown"
        else:
            comparison = "incomplete" if missing else "identical"
    return {
        "staging_vs_dev": comparison if environment == "staging" else None,
        "prod_vs_staging": comparison if environment == "prod" else None,
        "different_files": sorted(different),
        "missing_files": sorted(missing),
        "extra_files": sorted(extra),
    }


def _promotion(number: int, versions: list[Values]) -> Values:
    of = {row["environment"]: row for row in versions}
    return {
        "model_version": number,
        "staging_vs_dev": of.get("staging", {}).get("staging_vs_dev"),
        "prod_vs_staging": of.get("prod", {}).get("prod_vs_staging"),
        "prod_upload_timestamp": of.get("prod", {}).get("first_upload_timestamp"),
        "prod_last_upload_timestamp": of.get("prod", {}).get("last_upload_timestamp"),
        "prod_removed_at": of.get("prod", {}).get("removed_at"),
    }


def _latest_models(versions: list[Values]) -> list[Values]:
    there = [row for row in versions if row["removed_at"] is None]
    in_dev = {row["model_version"] for row in there if row["environment"] == "dev"}
    highest = {row["environment"]: row for row in there}  # the last, the highest
    return [
        row
        | {
            "versions_behind_dev": sum(number > row["model_version"] for number in in_dev),
            "versions": sum(row["environment"] == environment for row in there),
            "differing_versions": [
                other["model_version"]
                for other in reversed(there)
                if other["environment"] == environment
                and {other["staging_vs_dev"], other["prod_vs_staging"]} & {"different", "skipped"}
            ],
        }
        for environment, row in highest.items()
    ]


def _changes(
    rows: list[Values], artifacts: dict[tuple[str, str], list[Values]], time: datetime
) -> list[Values]:
    """Follow each path from write to write, and put together what belongs together."""
    happened = defaultdict(list)
    for (environment, path), writes in artifacts.items():
        for write, before, after in zip(writes, [None, *writes], [*writes[1:], None], strict=False):
            moment = write["upload_timestamp"]
            what = [(moment, _kind(write, before))]
            live = True
            for turned_at, is_live in _turns((environment, path, moment), rows, time):
                if is_live != live and (after is None or after["upload_timestamp"] > turned_at):
                    what.append((turned_at, "reappeared" if is_live else "removed"))
                live = is_live
            for changed_at, change in what:
                happened[_number(path), environment, change].append((changed_at, path, write))
    found = []
    for (number, environment, change), moments in happened.items():
        groups: list[list[Any]] = []
        for moment in sorted(moments, key=lambda one: one[0]):
            if groups and moment[0] - groups[-1][-1][0] <= timedelta(minutes=10):
                groups[-1].append(moment)
            else:
                groups.append([moment])
        for group in groups:
            completes = change == "arrived" and _files_before(
                group[0], happened, number, environment
            )
            found.append(
                _change(group)
                | {"model_version": number, "environment": environment}
                | {"change": "completed" if completes else change}
            )
    return found


def _files_before(first: Any, happened: dict[Any, Any], number: int, environment: str) -> int:  # noqa: ANN401 - a moment
    """Return how many files of a version were there when some arrived."""
    files = 0
    for (of_number, of_environment, change), moments in happened.items():
        if (of_number, of_environment) == (number, environment):
            for moment, path, _ in moments:
                is_before = (moment, change == "removed", path) < (first[0], False, first[1])
                files += is_before * EFFECTS.get(change, 0)
    return files


def _kind(write: Values, before: Values | None) -> str:
    if before is None:
        return "arrived"
    if before["removed_at"] and before["removed_at"] < write["upload_timestamp"]:
        return "reappeared"
    same = all(write[name] == before[name] for name in ("crc32c", "file_size_bytes"))
    return "rewritten" if same and write["crc32c"] else "overwritten"


def _change(group: list[Any]) -> Values:
    last = {path: write for _, path, write in group}
    return {
        "changed_at": group[0][0],
        "ended_at": group[-1][0],
        "files": len(last),
        "total_bytes": sum(write["file_size_bytes"] for write in last.values()),
        "uploaders": sorted({write["uploader"] for *_, write in group} - {None}),
    }


def random_history(chance: random.Random) -> list[Values]:
    """
    Make up what happened to a model's files, and what the registry was told.

    Some events come twice or not at all, and then a reconciliation finds out later, or nobody does.
    Some rows are older than the column generation. The order of the rows is any.
    """
    told: list[Values] = []
    live: dict[tuple[str, str], Values] = {}
    missing: dict[tuple[str, str], Values] = {}  # found gone, and nothing was written since
    for minutes in sorted(chance.sample(range(240), chance.randrange(2, 30))):
        environment = chance.choice(["dev", "dev", "staging", "prod"])
        folder, name = chance.choice(FOLDERS), chance.choice(NAMES)
        path = f"{folder}/{name}"
        where, there = (environment, path), live.get((environment, path))
        action = chance.random()
        if where in missing and action < 0.4:
            live[where] = missing.pop(where)
            told.append(_removal(live[where], None, minutes))
        elif there and action < 0.35:
            found = chance.choice([0, 0, 90])  # by its event, or by a reconciliation
            told.append(_removal(there, minutes + found, minutes + found))
            if not found and chance.random() < 0.3:  # it finds the same
                told.append(_removal(there, minutes + 90, minutes + 90))
            if found:
                missing[where] = there
            del live[where]
        else:
            if there and chance.random() < 0.8:  # otherwise that event is lost
                told.append(_removal(there, minutes, minutes))
            live[where] = _write(minutes, environment, path, chance)
            missing.pop(where, None)
            told.append(live[where])
            if chance.random() < 0.1:  # a late event lacks the checksum
                told.append(live[where] | {"crc32c": None, "registered_at": at(minutes + 3000)})
            if live[where]["generation"] is None and chance.random() < 0.5:
                told.append(
                    live[where]
                    | {"generation": 1000 + minutes, "crc32c": chance.choice("AB")}
                    | {"registered_at": at(minutes + 2000)}
                )
    told += _tidied(live, chance)
    told += [row for row in told if chance.random() < 0.2]
    chance.shuffle(told)
    return told


def _tidied(live: dict[tuple[str, str], Values], chance: random.Random) -> list[Values]:
    """Remove, now and then, all that is left in an environment, at once or slowly."""
    tidied = chance.choice(["dev", "staging", "no environment"])
    each = chance.choice([0.1, 20, 70])
    gone = [write for where, write in live.items() if tidied in where]
    return [
        _removal(write, 300 + number * each, 300)
        for number, write in enumerate(chance.sample(gone, len(gone)))
    ]


def _write(minutes: int, environment: str, path: str, chance: random.Random) -> Values:
    is_old = chance.random() < 0.2
    return written(minutes, environment=environment, gcs_path=path) | {
        "file_size_bytes": chance.choice([1, 2]),
        "uploader": chance.choice(["ada", "bob", None]),
        "registered_at": at(minutes + chance.choice([0, 0, 600])),
        "generation": None if is_old else 1000 + minutes,
        "crc32c": None if is_old else CHECKSUMS[chance.choice("AAAAAAB?")],
    }


def _removal(write: Values, minutes: float | None, recorded: float) -> Values:
    """Record the removal of a write; None if it is there again."""
    return removed(minutes, 0, recorded) | {
        name: write[name] for name in ("environment", "gcs_path", "generation", "upload_timestamp")
    }
