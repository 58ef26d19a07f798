"""
Sample data for the local system: a dozen models with three months of history.

A line of MODELS is a version: who trained it, and how many days ago it reached each environment.
In dev it is uploaded; staging and prod get a copy from the bucket of the environment before. A
second time in an environment overwrites it. An exclamation mark means other bytes, a minus that it
was removed there.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

MODELS = """
fraud-detection      v1 ada    dev 92  staging 90   prod 86
fraud-detection      v2 ada    dev 64  staging 62   prod 57
fraud-detection      v3 grace  dev 31  staging 29   prod 26   prod 2!
fraud-detection      v4 grace  dev 6
titanic-survival     v1 alan   dev 75  dev 74       staging 70  prod 69
titanic-survival     v2 alan   dev 40  staging 38   prod 37
churn                v1 barbara dev 81 staging 80   prod 77  prod 45-
churn                v2 barbara dev 52 staging 50   prod 46
churn                v3 barbara dev 24 staging 22
churn                v4 ada    dev 9
demand-forecast      v1 edsger dev 66  staging 65   prod 61
demand-forecast      v2 edsger dev 45
demand-forecast      v3 edsger dev 33  staging 30   prod 28
demand-forecast      v7 edsger dev 5   staging 3
image-tagger         v1 grace  dev 58  staging 55   prod 50
image-tagger         v2 grace  dev 17  staging 13
price-elasticity     v1 alan   dev 88  prod 87
price-elasticity     v2 alan   dev 49  staging 47   prod 44
recommender          v1 ada    dev 70  staging 66   prod 63
recommender          v2 ada    dev 43  dev 42       dev 41      staging 39  prod 36
recommender          v3 barbara dev 12 staging 10   prod 7
search-ranking       v1 edsger dev 79  staging 76   prod 73
search-ranking       v2 edsger dev 27  staging 25
sentiment            v1 grace  dev 62  prod 59
sentiment            v2 grace  dev 21  staging 20   prod 19  prod 18-
spam-filter          v1 alan   dev 90  staging 89   prod 88
spam-filter          v2 alan   dev 35  staging 34!  staging 32
support-triage       v1 barbara dev 15
vehicle-damage       v1 ada    dev 48  staging 44   prod 40
vehicle-damage       v2 ada    dev 4   staging 1
"""
FOLDERS = {"image-tagger", "vehicle-damage"}  # the others are one file
FILE = {"model.pkl": 400_000}
FOLDER = {
    "saved_model.pb": 90_000,
    "variables/variables.data-00000-of-00001": 1_700_000,
    "variables/variables.index": 4_000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A version reaches an environment, without a `source` as new bytes, or is removed there."""

    days_ago: int
    model: str
    version: str
    uploader: str
    environment: str
    source: str | None
    removed: bool


def steps() -> list[Step]:
    """Read MODELS; return its steps, the oldest first."""
    found = []
    for line in MODELS.strip().splitlines():
        model, version, uploader, *way = line.split()
        reached = ["dev"]
        for environment, when in zip(way[::2], way[1::2], strict=True):
            if environment not in reached:
                reached.append(environment)
            own = environment == "dev" or when.endswith("!")
            removed = when.endswith("-")
            found.append(
                Step(
                    days_ago=int(when.rstrip("!-")),
                    model=model,
                    version=version,
                    uploader=uploader,
                    environment=environment,
                    source=None if own else reached[reached.index(environment) - 1],
                    removed=removed,
                )
            )
    return sorted(found, key=lambda step: -step.days_ago)


def upload(storage_url: str, project: str, buckets: Sequence[str]) -> tuple[int, int]:
    """
    Upload everything, and return how many registrations and how many removals that makes.

    `buckets` are those of dev, staging and prod.
    """
    bucket_of = dict(zip(("dev", "staging", "prod"), buckets, strict=True))
    chance = random.Random(0)  # noqa: S311 - the same data for everybody
    registrations = removals = 0
    live = set()
    for step in steps():
        for file, size in (FOLDER if step.model in FOLDERS else FILE).items():
            time = datetime.now(UTC) - timedelta(days=step.days_ago, minutes=chance.randrange(600))
            client = Client(
                project,
                AnonymousCredentials(),  # type: ignore[no-untyped-call] # google-auth types it in part
                client_options={"api_endpoint": storage_url},
                # Only deploy/local/storage.py knows it: the time of the write.
                extra_headers={"x-time": str(int(time.timestamp() * 1_000_000))},
            )
            name = f"{step.model}/{step.version}/{file}"
            bucket = client.bucket(bucket_of[step.environment])
            if (bucket.name, name) in live:
                removals += 1  # overwritten is removed, too
            if step.removed:
                bucket.blob(name).delete()
                continue
            if step.source:
                source = client.bucket(bucket_of[step.source]).blob(name)
                bucket.blob(name).rewrite(source)
            else:
                blob = bucket.blob(name)
                blob.metadata = {
                    "uploader": step.uploader,
                    "git_commit": f"{chance.getrandbits(28):07x}",
                    "accuracy": f"{chance.uniform(0.8, 0.99):.3f}",
                }
                blob.upload_from_string(chance.randbytes(chance.randrange(size // 2, size)))
            live.add((bucket.name, name))
            registrations += 1
    return registrations, removals
