"""The views in plain Python, and random rows to compare the two on."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

type Values = dict[str, Any]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHECKSUMS = ["AAAAAA==", "AAAAAA==", "BBBBBB=="]


def expected_of(
    rows: list[Values], removals: list[Values], at: datetime | None = None
) -> dict[str, list[Values]]:
    """Say what the views hold of one model, now or at a time, in the plainest way."""
    writes: dict[Any, Values] = {}
    for row in sorted(rows, key=lambda row: (row["generation"] is None, row["registered_at"])):
        # In these rows each minute has one write.
        if at is None or row["upload_timestamp"] <= at:
            writes.setdefault((row["gcs_bucket"], row["gcs_path"], row["upload_timestamp"]), row)
    gone: dict[Any, datetime] = {}
    for row in removals:
        if at is None or row["removed_at"] <= at:
            key = row["gcs_bucket"], row["gcs_path"], row["upload_timestamp"]
            gone[key] = min(row["removed_at"], gone.get(key, row["removed_at"]))
    history = defaultdict(list)
    for row in writes.values():
        history[row["environment"], row["gcs_path"]].append(row)
    versions = defaultdict(list)
    for (environment, path), of_path in history.items():
        of_path.sort(key=lambda row: row["upload_timestamp"])
        number = int(path.split("/")[1].removeprefix("v"))
        versions[number, environment].append(of_path)

    def removed_at(row: Values) -> datetime | None:
        return gone.get((row["gcs_bucket"], row["gcs_path"], row["upload_timestamp"]))

    def newest(number: int, environment: str) -> list[Values]:
        return [of_path[-1] for of_path in versions[number, environment]]

    def live(number: int, environment: str) -> list[Values]:
        return [row for row in newest(number, environment) if removed_at(row) is None]

    def counted(number: int, environment: str) -> list[Values]:
        """Those that are live; if none is, those that were removed last."""
        ends = [end for row in newest(number, environment) if (end := removed_at(row))]
        return live(number, environment) or [
            row
            for row in newest(number, environment)
            if (end := removed_at(row)) and end >= max(ends) - timedelta(hours=1)
        ]

    def contents(number: int, environment: str) -> dict[str, set[Any]]:
        found = defaultdict(set)
        for row in counted(number, environment):
            name = row["gcs_path"].split("/", 2)[2]
            found[name].add((row["crc32c"], row["file_size_bytes"]))
        return found

    def comparison(number: int, environment: str, before: str) -> str | None:
        if (number, environment) not in versions or not live(number, environment):
            return None
        if (number, before) not in versions:
            return "skipped"
        here, there = contents(number, environment), contents(number, before)
        every = [content for files in (here, there) for of in files.values() for content in of]
        if any(checksum is None for checksum, _ in every):
            return "unknown"
        if any(there.get(name) != content for name, content in here.items()):
            return "different"
        return "identical" if here == there else "incomplete"

    model_versions = [
        {
            "model_version": number,
            "environment": environment,
            "files": len(live(number, environment)),
            "total_bytes": sum(row["file_size_bytes"] for row in live(number, environment)),
            "first_upload_timestamp": min(of_path[0]["upload_timestamp"] for of_path in files),
            "last_upload_timestamp": max(of_path[-1]["upload_timestamp"] for of_path in files),
            "uploaders": sorted({row["uploader"] for row in counted(number, environment)} - {None}),
            "overwrites": sum(len(of_path) - 1 for of_path in files),
            "removed_at": None
            if live(number, environment)
            else max(filter(None, map(removed_at, newest(number, environment)))),
            "staging_vs_dev": comparison(number, "staging", "dev")
            if environment == "staging"
            else None,
            "prod_vs_staging": comparison(number, "prod", "staging")
            if environment == "prod"
            else None,
        }
        for (number, environment), files in sorted(versions.items())
    ]
    there_now = [row for row in model_versions if row["files"]]
    in_dev = {row["model_version"] for row in there_now if row["environment"] == "dev"}
    latest = {row["environment"]: row for row in there_now}  # the last, the highest
    return {
        "model_versions": model_versions,
        "promotions": [
            {
                "model_version": number,
                "staging_vs_dev": comparison(number, "staging", "dev"),
                "prod_vs_staging": comparison(number, "prod", "staging"),
            }
            for number in sorted({number for number, _ in versions})
        ],
        "latest_models": [
            {
                **{
                    key: row[key] for key in ("model_version", "environment", "files", "overwrites")
                },
                "versions_behind_dev": sum(number > row["model_version"] for number in in_dev),
            }
            for row in sorted(
                latest.values(), key=lambda row: (row["model_version"], row["environment"])
            )
        ],
    }


def random_rows(name: str, chance: random.Random) -> list[Values]:
    """Make up writes of one model, some delivered twice, some without their lineage."""
    rows = []
    for minutes in chance.sample(range(60), chance.randrange(1, 25)):
        environment = chance.choice(["dev", "dev", "staging", "prod"])
        folder, old = chance.choice(["v1", "v01", "v2", "v4", "v10"]), chance.random() < 0.1
        row = {
            "model_name": name,
            "model_version": int(folder.removeprefix("v")),
            "environment": environment,
            "gcs_bucket": f"ml-models-{environment}",
            "gcs_path": f"{name}/{folder}/{chance.choice(['a', 'b'])}",
            "file_size_bytes": chance.choice([1, 2]),
            "upload_timestamp": NOON + timedelta(minutes=minutes),
            "uploader": chance.choice(["ada", "bob", None]),
            "registered_at": NOON + timedelta(minutes=minutes, seconds=chance.randrange(5000)),
            "generation": None if old else 1000 + minutes,
            "crc32c": None if old else chance.choice(CHECKSUMS),
        }
        rows += [row] * (1 + (chance.random() < 0.2))
        if old and chance.random() < 0.5:  # a reconciliation has completed it
            lineage = {
                "generation": 1000 + minutes,
                "crc32c": chance.choice(["AAAAAA==", "BBBBBB=="]),
            }
            rows.append({**row, **lineage, "registered_at": NOON + timedelta(days=1)})
    return rows


def random_removals(rows: list[Values], chance: random.Random) -> list[Values]:
    """Make up removals of some of the writes: of old ones too, and some recorded twice."""
    removals = []
    for row in rows:
        if chance.random() < 0.3:
            continue
        minutes = int((row["upload_timestamp"] - NOON).total_seconds()) // 60
        removal = {
            "gcs_bucket": row["gcs_bucket"],
            "gcs_path": row["gcs_path"],
            "generation": 1000 + minutes,
            "upload_timestamp": row["upload_timestamp"],
            "removed_at": row["upload_timestamp"] + timedelta(minutes=chance.randrange(1, 120)),
            "recorded_at": NOON + timedelta(days=1),
            "recorded_by": chance.choice(["archived", "deleted", "reconciliation"]),
        }
        removals += [removal] * (1 + (chance.random() < 0.2))
    return removals
