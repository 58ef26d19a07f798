"""Promotions on the local Cloud Storage, also broken off at each request."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Blob, Client

from registry import promotion, version_files
from registry.artifact import ArtifactPath
from registry.bucket import Bucket
from registry.environment import Environment
from registry.errors import ListingFailed, Refused, RegistryError, StorageFailed
from registry.event import StorageObject
from registry.inventory import Filter, Inventory
from registry.rows import Artifact, ComparedFile, ModelVersionFiles
from tests.servers import running
from tests.servers.local_storage import Cloud, served
from tests.servers.proxy import Proxy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEV, STAGING = Environment.DEV, Environment.STAGING


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The local Cloud Storage, with the buckets of dev and staging."""
    with served(tmp_path_factory.mktemp("storage") / "storage.log") as running_cloud:
        yield running_cloud


@pytest.fixture(scope="module")
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    """A proxy before it."""
    server = Proxy(cloud.url)
    with running(server):
        yield server


@pytest.fixture(autouse=True)
def no_requests_for_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Bucket.connect does."""
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")


def client(url: str) -> Client:
    """Make a client of a Cloud Storage."""
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return Client("demo", nobody, client_options={"api_endpoint": url})


def connect_to(url: str) -> Callable[[str], Bucket]:
    """Return how buckets are reached there."""
    of = client(url)
    return lambda name: Bucket(of, name)


def artifact(stored: StorageObject, environment: str, **columns: Any) -> Artifact:  # noqa: ANN401
    """Make the registry's row of an object."""
    path = ArtifactPath.parse(stored.name)
    row: dict[str, Any] = {
        "model_name": path.model_name,
        "model_version": path.model_version,
        "environment": environment,
        "gcs_bucket": stored.bucket,
        "gcs_path": stored.name,
        "file_size_bytes": stored.size,
        "upload_timestamp": stored.time_created,
        "uploader": None,
        "registered_at": stored.time_created,
        "generation": stored.generation,
        "crc32c": stored.crc32c,
        "md5_hash": stored.md5_hash,
        "metadata": stored.metadata,
        "removed_at": None,
        "first_upload_timestamp": stored.time_created,
        "overwrites": 0,
    }
    return Artifact(**{**row, **columns})


def version(
    artifacts: Sequence[Artifact], environment: str = "dev", comparison: str | None = None
) -> ModelVersionFiles:
    """Make the registry's row of a version."""
    first = artifacts[0]
    return ModelVersionFiles(
        model_name=first.model_name,
        model_version=first.model_version,
        environment=environment,
        files=len(artifacts),
        total_bytes=0,
        first_upload_timestamp=NOON,
        last_upload_timestamp=NOON,
        uploaders=[],
        overwrites=0,
        fingerprint="same",
        removed_at=None,
        uri="",
        staging_vs_dev=comparison if environment == "staging" else None,
        prod_vs_staging=comparison if environment == "prod" else None,
        different_files=[],
        missing_files=[],
        extra_files=[],
        artifacts=artifacts,
    )


@dataclass
class Registry:
    """An inventory which knows at once what is in the buckets."""

    connect: Callable[[str], Bucket]

    def model_version_files(
        self, model: str, wanted: Filter, newest: int, versions: int
    ) -> list[ModelVersionFiles]:
        assert versions == 1
        return [
            one
            for one in self.model_versions(model, wanted)
            if one.model_version == newest and one.artifacts
        ]

    def compared_files(self, *_: object) -> list[ComparedFile]:
        return []

    def model_versions(self, model: str, wanted: Filter) -> list[ModelVersionFiles]:
        contents: dict[str, set[tuple[str, int, str | None]]] = {}
        rows = []
        for environment in ("dev", "staging"):
            listed = list(self.connect(f"ml-models-{environment}").objects(f"{model}/v1/"))
            contents[environment] = {(one.name, one.size, one.crc32c) for one in listed}
            if listed and environment in wanted.environments:
                comparison = None
                if environment == "staging":
                    comparison = "different"
                    if contents["staging"] < contents["dev"]:
                        comparison = "incomplete"
                    elif contents["staging"] == contents["dev"]:
                        comparison = "identical"
                rows.append(
                    version([artifact(one, environment) for one in listed], environment, comparison)
                )
        return rows


@pytest.fixture
def model(cloud: Cloud, request: pytest.FixtureRequest) -> str:
    """A model of the test's own with four files in dev; returns its name."""
    name = f"m{abs(hash(request.node.name)) % 10**9}"
    for number in range(4):
        blob = cloud.dev.blob(f"{name}/v1/part-{number}")
        blob.upload_from_string(b"x" * number)
    return name


def prepare(connect: Callable[[str], Bucket], known: Registry, model: str) -> promotion.Plan:
    """Plan its promotion to staging."""
    return promotion.prepare(
        cast("Inventory", known), connect, model=model, version=1, source=DEV, target=STAGING
    )


def run(connect: Callable[[str], Bucket], known: Registry, model: str) -> None:
    """Promote it to staging, as the command does."""
    planned = prepare(connect, known, model)
    promotion.promote(planned, connect)
    promotion.wait_until_identical(planned, cast("Inventory", known), 0)


def comparison(known: Registry, model: str) -> str | None:
    rows = known.model_versions(model, Filter(environments=["staging"]))
    return rows[0].staging_vs_dev if rows else None


@pytest.mark.parametrize("lose", [False, True], ids=["refused", "answer lost"])
def test_a_promotion_that_stops_at_any_request_is_completed_by_the_next(
    cloud: Cloud, proxy: Proxy, model: str, *, lose: bool
) -> None:
    known = Registry(connect_to(cloud.url))
    for stop in itertools.count(1):
        for blob in cloud.client.list_blobs(cloud.staging, prefix=f"{model}/"):
            blob.delete()
        proxy.reset(stop, lose=lose)
        try:
            run(connect_to(proxy.url), known, model)
        except RegistryError:
            between = comparison(known, model)
            copied = len(list(cloud.client.list_blobs(cloud.staging, prefix=f"{model}/")))
            assert between == (None, "incomplete", "identical")[(copied > 0) + (copied == 4)]
        else:
            break
        run(connect_to(cloud.url), known, model)
        assert comparison(known, model) == "identical"
    proxy.reset()

    assert stop == 8  # two lists, four copies, and a list


def test_two_at_once_both_end_right(cloud: Cloud, model: str) -> None:
    connect = connect_to(cloud.url)
    known = Registry(connect)
    planned = [prepare(connect, known, model) for _ in range(2)]

    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(promotion.promote, one, connect) for one in planned]:
            ended.result()

    assert comparison(known, model) == "identical"


def test_bytes_that_came_meanwhile_are_not_overwritten(cloud: Cloud, model: str) -> None:
    connect = connect_to(cloud.url)
    planned = prepare(connect, Registry(connect), model)
    cloud.staging.blob(f"{model}/v1/part-2").upload_from_string(b"theirs")

    with pytest.raises(Refused, match=rf"expected no .*{model}/v1/part-2, found one with other"):
        promotion.promote(planned, connect)

    assert cloud.staging.blob(f"{model}/v1/part-2").download_as_bytes() == b"theirs"
    with pytest.raises(Refused, match=r"found others at gs://ml-models-staging/.*/part-2: nothing"):
        prepare(connect, Registry(connect), model)


def test_a_source_that_is_overwritten_meanwhile_is_an_error(cloud: Cloud, model: str) -> None:
    connect = connect_to(cloud.url)
    planned = prepare(connect, Registry(connect), model)
    cloud.dev.blob(f"{model}/v1/part-2").upload_from_string(b"newer")

    with pytest.raises(Refused, match=r"/part-2#\d+, found that it was overwritten or deleted"):
        promotion.promote(planned, connect)

    assert not cloud.staging.blob(f"{model}/v1/part-2").exists()


def test_a_bucket_that_is_gone_and_one_that_refuses_have_remedies(
    cloud: Cloud, proxy: Proxy, model: str
) -> None:
    planned = prepare(connect_to(cloud.url), Registry(connect_to(cloud.url)), model)
    proxy.reset(1)

    with pytest.raises(StorageFailed, match=r"found NotFound: .*check that the bucket exists"):
        promotion.promote(
            replace(planned, targets={"ml-models-dev": "gone-staging"}), connect_to(cloud.url)
        )
    with pytest.raises(StorageFailed, match=r"found Forbidden: .*you need roles/storage"):
        promotion.promote(planned, connect_to(proxy.url))
    with pytest.raises(ListingFailed, match=r"the list of gs://ml-models-dev, .*storage\.objects"):
        prepare(connect_to(proxy.url), Registry(connect_to(cloud.url)), model)
    with pytest.raises(ListingFailed, match=r"the list of gs://ml-models-prod, .*check its name"):
        promotion.prepare(
            cast("Inventory", Registry(connect_to(cloud.url))),
            connect_to(cloud.url),
            model=model,
            version=1,
            source=DEV,
            target=Environment.PROD,
        )
    with pytest.raises(StorageFailed, match="expected what the bucket keeps gs://ml-models-dev"):
        _ = connect_to(proxy.url)("ml-models-dev").keeps_removed


def test_all_checksums_are_compared_in_the_end(cloud: Cloud, model: str) -> None:
    connect = connect_to(cloud.url)
    planned = prepare(connect, Registry(connect), model)

    with pytest.raises(Refused, match=r"checksums of dev, found others .*/part-0, .*/part-3: some"):
        promotion.promote(replace(planned, copies=[]), connect)


def test_a_large_file_is_copied_in_parts(
    cloud: Cloud, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite, tokens = Blob.rewrite, []

    def slowly(blob: Blob, *of: Any, token: str | None, **options: Any) -> tuple[Any, int, int]:  # noqa: ANN401
        tokens.append(token)
        return ("more", 1, 2) if token is None else rewrite(blob, *of, **options)

    monkeypatch.setattr(Blob, "rewrite", slowly)
    connect = connect_to(cloud.url)
    run(connect, Registry(connect), model)

    assert sorted(map(str, tokens)) == ["None"] * 4 + ["more"] * 4


def stored(name: str = "m/v1/a", **facts: Any) -> StorageObject:  # noqa: ANN401
    """Make an object of dev."""
    given: dict[str, Any] = {
        "bucket": "b-dev",
        "name": name,
        "generation": 1,
        "size": 10,
        "time_created": NOON,
        "crc32c": "AAAAAA==",
        "md5_hash": None,
        "metadata": {},
    }
    return StorageObject(**{**given, **facts})


@pytest.mark.parametrize(
    ("columns", "listed", "message"),
    [
        ({"removed_at": NOON}, [stored()], "expected m v1 in dev, found that it was removed from"),
        (
            {"environment": "staging", "staging_vs_dev": "incomplete"},
            [stored()],
            "found an incomplete copy of dev: run model-registry promote m v1 --to staging",
        ),
        (
            {"environment": "staging", "staging_vs_dev": "skipped"},
            [stored()],
            "found that it never was in dev: promote that one first, or add --anyway",
        ),
        (
            {},
            [stored(generation=2)],
            "gs://b-dev/m/v1/a: the events may be on their way, so run it",
        ),
        (
            {},
            [],
            "/m/v1/a: .*; if that does not help, run model-registry reconcile dev --prefix m/",
        ),
        (
            {},
            [stored(), *(stored(f"m/v1/{n}") for n in range(7))],
            "gs://b-dev/m/v1/4 and 2 more: the events may be on their way",
        ),
    ],
)
def test_what_cannot_be_promoted(
    columns: dict[str, Any], listed: list[StorageObject], message: str
) -> None:
    found = replace(version([artifact(stored(), "dev")]), **columns)

    with pytest.raises(Refused, match=message):
        promotion.plan(found, listed, [], STAGING)


def test_a_command_that_is_proposed_can_be_pasted() -> None:
    one = stored("a b/v1/a")
    part = replace(version([artifact(one, "staging")], "staging"), staging_vs_dev="incomplete")

    with pytest.raises(Refused, match="reconcile dev --prefix 'a b/'"):
        promotion.plan(version([artifact(one, "dev")]), [], [], STAGING)
    with pytest.raises(Refused, match="run model-registry promote 'a b' v1 --to staging"):
        promotion.plan(part, [one], [], Environment.PROD)


def test_a_file_without_a_checksum_is_refused() -> None:
    bare = stored(crc32c=None)

    with pytest.raises(Refused, match=r"expected checksums, found none of gs://b-dev/m/v1/a#1"):
        promotion.plan(version([artifact(bare, "dev")]), [bare], [], STAGING)


def test_checksums_that_a_list_lacks_are_asked_for_and_folders_are_left_out() -> None:
    class Listing:
        def objects(self, *_: str, for_copies: bool) -> list[StorageObject]:
            assert for_copies
            bare = stored(crc32c=None, properties={"contentType": "x"})
            return [stored("m/v1/", size=0), bare]

        def describe(self, bare: StorageObject) -> StorageObject:
            return replace(bare, crc32c="BBBBBB==", properties={})

    listing = cast("Bucket", Listing())

    [found] = version_files.listed_in(lambda _: listing, "b-dev", "m/v1/")

    assert (found.crc32c, found.properties) == ("BBBBBB==", {"contentType": "x"})


def test_the_account_is_known_where_the_credentials_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    of = client("http://127.0.0.1:1")
    bucket = Bucket(of, "b-dev")
    planned = promotion.plan(
        version([artifact(stored(), "dev")]), [stored()], [], STAGING, anyway=True
    )
    assert bucket.account is None

    monkeypatch.setattr(
        of._credentials,  # noqa: SLF001 - the library has no other way
        "service_account_email",
        "ci@p.iam.gserviceaccount.com",
        raising=False,
    )

    assert planned.metadata(stored(), bucket.account) == {
        "promoted_from": "gs://b-dev/m/v1/a#1",
        "promoted_by": "ci@p.iam.gserviceaccount.com",
    }


LEFT = version([artifact(stored(), "dev")])
RIGHT = version([artifact(stored(), "dev")], "staging", "identical")
LIVE = version([artifact(stored(), "dev")], "prod", "skipped")


@pytest.mark.parametrize(
    ("source", "target", "missing"),
    [
        (LEFT, RIGHT, None),
        (LEFT, None, "none of its files"),
        (LEFT, replace(RIGHT, removed_at=NOON), "none of its files"),
        (
            LEFT,
            replace(RIGHT, staging_vs_dev="incomplete", missing_files=["a", "b"]),
            "incomplete copy of dev, missing: a, b",
        ),
        (
            LEFT,
            replace(RIGHT, staging_vs_dev="different", extra_files=["a"]),
            "differs from dev, not in the source: a",
        ),
        (LEFT, LIVE, None),
        (LEFT, replace(LIVE, fingerprint=None), "never was in staging"),
        (LEFT, replace(LIVE, fingerprint="other"), "never was in staging"),
    ],
)
def test_what_the_registry_says_of_a_promotion(
    source: ModelVersionFiles, target: ModelVersionFiles | None, missing: str | None
) -> None:
    assert promotion.unlike(source, target) == missing


def test_the_registry_is_asked_until_it_knows_or_time_is_up(cloud: Cloud, model: str) -> None:
    connect = connect_to(cloud.url)
    known = Registry(connect)
    planned = prepare(connect, known, model)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        promotion.promote(planned, connect)

    promotion.wait_until_identical(planned, cast("Inventory", known), 60, sleep=sleep)
    cloud.staging.blob(f"{model}/v1/part-0").delete()
    with pytest.raises(Refused, match="within 0 s, found incomplete copy of dev: the events may"):
        promotion.wait_until_identical(planned, cast("Inventory", known), 0)

    assert slept == [1]


def test_after_an_error_nothing_more_is_begun() -> None:
    begun, lock = [], threading.Lock()

    def do(number: int) -> None:
        with lock:
            begun.append(number)
        if number == 3:
            raise Refused("three")

    with pytest.raises(Refused, match="three"):
        version_files.each(do, itertools.count(), lambda: None)

    assert len(begun) < 1_000
