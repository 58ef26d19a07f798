"""What promotions and withdrawals share: a version's files in the registry and in its buckets."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from shlex import quote

from registry.artifact import ArtifactPath
from registry.bucket import Bucket
from registry.environment import Environment
from registry.errors import NotForTheRegistry, Refused
from registry.event import StorageObject
from registry.inventory import Filter, Inventory
from registry.rows import ModelVersionFiles

AT_ONCE = 8
ASK_EVERY_SECONDS = 1.0
_NAMED = 5

type Connect = Callable[[str], Bucket]


def address(stored: StorageObject) -> str:
    """Return where a generation is."""
    return f"gs://{stored.bucket}/{stored.name}#{stored.generation}"


def find(
    inventory: Inventory, model: str, version: int, environment: Environment
) -> ModelVersionFiles:
    """
    Return a version in an environment with its files, also if they were removed.

    Raises:
        Refused: It never was there.
        QueryFailed: BigQuery does not answer.
    """
    wanted = Filter(environments=[environment])
    for found in inventory.model_version_files(model, wanted, newest=version, versions=1):
        if found.model_version == version:
            return found
    raise Refused(
        f"expected {model} v{version} in {environment}, found that it never was there:"
        f" run model-registry show {quote(model)}"
    )


def each[T](do: Callable[[T], None], things: Iterable[T], on_object: Callable[[], None]) -> None:
    """Do something for each, some at a time. After an error, what has begun is still done."""
    waiting = iter(things)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(do, one) for one in itertools.islice(waiting, 2 * AT_ONCE)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    on_object()
                running |= {pool.submit(do, one) for one in itertools.islice(waiting, len(done))}
        finally:
            for future in running:
                future.cancel()


def folders(found: ModelVersionFiles) -> list[tuple[str, str]]:
    """Return the buckets and folders that hold a version's files: v3/ and v03/ are one version."""
    return sorted({(one.gcs_bucket, folder_of(one.gcs_path)) for one in found.artifacts})


def places(files: Iterable[StorageObject]) -> list[str]:
    """Return the folders of files, with their buckets."""
    return sorted({f"gs://{one.bucket}/{folder_of(one.name)}" for one in files})


def folder_of(name: str) -> str:
    """
    Return an artifact's folder.

    >>> folder_of("churn/v03/variables/index")
    'churn/v03/'
    """
    model, version, _ = name.split("/", 2)
    return f"{model}/{version}/"


def listed_in(connect: Connect, bucket: str, folder: str) -> Iterator[StorageObject]:
    """List a version's live files with their checksums; a folder marker is none."""
    listing = connect(bucket)
    for stored in listing.objects(folder, for_copies=True):
        try:
            ArtifactPath.parse(stored.name, size=stored.size)
        except NotForTheRegistry:
            continue
        if stored.crc32c is None:
            described = listing.describe(stored)
            yield replace(described, properties=stored.properties)
        else:
            yield stored


def named(names: Iterable[str]) -> str:
    """Return names for a message: the first of them, and how many more there are."""
    every = list(names)
    more = len(every) - _NAMED
    return ", ".join(every[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def wait_until(
    missing: Callable[[], str | None], seconds: float, sleep: Callable[[float], None], what: str
) -> None:
    """
    Ask again and again what is missing, until nothing is.

    Raises:
        Refused: Something still is after that time.
    """
    deadline = time.monotonic() + seconds
    while found := missing():
        if time.monotonic() >= deadline:
            raise Refused(
                f"expected the registry to see {what} within {seconds:.0f} s, found {found}: the"
                " events may be on their way, so run it again; if that does not help, run"
                " model-registry reconcile"
            )
        sleep(ASK_EVERY_SECONDS)
