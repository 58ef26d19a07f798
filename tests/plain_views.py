"""The views in plain Python, and random rows to compare the two on."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

type Values = dict[str, Any]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHECKSUMS = ["AAAAAA==", "AAAAAA==", "BBBBBB=="]


class Plain:
    """What the views hold of one model, now or at a time, said in the plainest way."""

    def __init__(self, rows: list[Values], removals: list[Values], at: datetime | None) -> None:
        writes: dict[Any, Values] = {}
        for row in sorted(rows, key=lambda row: (row["generation"] is None, row["registered_at"])):
            if at is None or row["upload_timestamp"] <= at:
                writes.setdefault(write_of(row), row)
        self.gone: dict[Any, datetime] = {}
        for row in removals:
            if at is None or row["removed_at"] <= at:
                end = row["removed_at"]
                self.gone[write_of(row)] = min(end, self.gone.get(write_of(row), end))
        history = defaultdict(list)
        for row in writes.values():
            history[row["environment"], row["gcs_path"]].append(row)
        self.versions = defaultdict(list)
        for (environment, path), of_path in history.items():
            of_path.sort(key=lambda row: row["upload_timestamp"])
            number = int(path.split("/")[1].removeprefix("v"))
            self.versions[number, environment].append(of_path)

    def ends(self, number: int, environment: str) -> list[tuple[Values, datetime | None]]:
        """The newest write of each file, and when that was removed."""
        newest = [of_path[-1] for of_path in self.versions[number, environment]]
        return [(row, self.gone.get(write_of(row))) for row in newest]

    def live(self, number: int, environment: str) -> list[Values]:
        return [row for row, end in self.ends(number, environment) if end is None]

    def removed_at(self, number: int, environment: str) -> datetime | None:
        ends = [end for _, end in self.ends(number, environment)]
        return None if None in ends else max(filter(None, ends))

    def counted(self, number: int, environment: str) -> list[Values]:
        """Those that are live; if none is, those that were removed last."""
        last = self.removed_at(number, environment)
        if last is None:
            return self.live(number, environment)
        near = last - timedelta(hours=1)
        return [row for row, end in self.ends(number, environment) if end and end >= near]

    def contents(self, number: int, environment: str) -> dict[str, set[Any]]:
        found = defaultdict(set)
        for row in self.counted(number, environment):
            name = row["gcs_path"].split("/", 2)[2]
            found[name].add((row["crc32c"], row["file_size_bytes"]))
        return found

    def comparison(self, number: int, environment: str, before: str) -> str | None:
        if (number, environment) not in self.versions or not self.live(number, environment):
            return None
        if (number, before) not in self.versions:
            return "skipped"
        here, there = self.contents(number, environment), self.contents(number, before)
        every = [content for files in (here, there) for of in files.values() for content in of]
        if any(checksum is None for checksum, _ in every):
            return "unknown"
        if any(there.get(name) != content for name, content in here.items()):
            return "different"
        return "identical" if here == there else "incomplete"

    def compared(self, number: int) -> Values:
        return {
            "staging_vs_dev": self.comparison(number, "staging", "dev"),
            "prod_vs_staging": self.comparison(number, "prod", "staging"),
        }

    def model_version(self, number: int, environment: str) -> Values:
        files = self.versions[number, environment]
        live = self.live(number, environment)
        people = {row["uploader"] for row in self.counted(number, environment)} - {None}
        own = {"staging": "staging_vs_dev", "prod": "prod_vs_staging"}.get(environment)
        return {
            "model_version": number,
            "environment": environment,
            "files": len(live),
            "total_bytes": sum(row["file_size_bytes"] for row in live),
            "first_upload_timestamp": min(of_path[0]["upload_timestamp"] for of_path in files),
            "last_upload_timestamp": max(of_path[-1]["upload_timestamp"] for of_path in files),
            "uploaders": sorted(people),
            "overwrites": sum(len(of_path) - 1 for of_path in files),
            "removed_at": self.removed_at(number, environment),
            **{key: value if key == own else None for key, value in self.compared(number).items()},
        }


def write_of(row: Values) -> Any:  # noqa: ANN401 - a key
    """What makes a write the one that it is: in these rows each minute has one."""
    return row["gcs_bucket"], row["gcs_path"], row["upload_timestamp"]


def expected_of(
    rows: list[Values], removals: list[Values], at: datetime | None
) -> dict[str, list[Values]]:
    """Say what each view holds of one model."""
    plain = Plain(rows, removals, at)
    model_versions = [plain.model_version(*key) for key in sorted(plain.versions)]
    there = [row for row in model_versions if row["files"]]
    in_dev = {row["model_version"] for row in there if row["environment"] == "dev"}
    latest = {row["environment"]: row for row in there}  # the last, the highest
    columns = ("model_version", "environment", "files", "overwrites")
    return {
        "model_versions": model_versions,
        "promotions": [
            {"model_version": number, **plain.compared(number)}
            for number in sorted({number for number, _ in plain.versions})
        ],
        "latest_models": [
            {
                **{key: row[key] for key in columns},
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
