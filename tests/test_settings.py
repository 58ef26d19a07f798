"""What the function reads from its environment variables."""

import pytest

from registry.environment import Environment
from registry.errors import InvalidSettings, UnknownEnvironment
from registry.links import Links
from registry.settings import Settings


@pytest.mark.parametrize(
    ("bucket", "environment"),
    [
        ("ml-models-dev", Environment.DEV),
        ("ml-models-staging", Environment.STAGING),
        ("ml-models-prod", Environment.PROD),
        ("acme-ml-models-dev", Environment.DEV),  # any prefix will do
        ("dev-models-prod", Environment.PROD),  # the end counts
        ("models.example.com-prod", Environment.PROD),
    ],
)
def test_the_environment_is_the_end_of_the_buckets_name(
    bucket: str, environment: Environment
) -> None:
    assert environment == Environment.of_bucket(bucket)


@pytest.mark.parametrize(
    "bucket",
    [
        "ml-models",  # no environment
        "ml-models-test",  # not one of the three
        "ml-models-production",  # not its name
        "ml-models-DEV",  # bucket names have no capitals
        "mlmodelsdev",  # no dash
        "dev",  # the same
        "ml-models-dev-1",  # not the end
        "ml-models-dev\n",  # not quite the end
        "",
    ],
)
def test_a_bucket_of_no_known_environment_is_refused(bucket: str) -> None:
    with pytest.raises(UnknownEnvironment, match="one of -dev, -staging, -prod, found"):
        Environment.of_bucket(bucket)


def test_a_project_is_all_that_is_needed() -> None:
    settings = Settings.from_environ({"GCP_PROJECT_ID": "acme"})

    assert settings == Settings(project="acme", table="ml_registry.models", emulated=False)


def test_every_setting_can_be_overridden() -> None:
    settings = Settings.from_environ(
        {
            "GCP_PROJECT_ID": "example.com:acme",
            "REGISTRY_TABLE": "ml.model-uploads",
            "BIGQUERY_EMULATOR_HOST": "http://localhost:9050",
            "THREADS": "8",
            "LINKS": "run=https://a.example/{value}",
        }
    )

    assert settings == Settings(
        project="example.com:acme",
        table="ml.model-uploads",
        emulated=True,
        threads=8,
        links=Links(templates={"run": "https://a.example/{value}"}),
    )


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    environ = {
        "GCP_PROJECT_ID": "acme",
        "REGISTRY_TABLE": "",
        "BIGQUERY_EMULATOR_HOST": "",
        "THREADS": "",
    }

    assert Settings.from_environ({"GCP_PROJECT_ID": "acme"}) == Settings.from_environ(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GCP_PROJECT_ID", ""),
        ("GCP_PROJECT_ID", "My Project"),  # its name, not its id
        ("GCP_PROJECT_ID", "acme\n"),
        ("REGISTRY_TABLE", "models"),  # no dataset
        ("REGISTRY_TABLE", "acme.ml_registry.models"),  # the project is a setting of its own
        ("REGISTRY_TABLE", "ml-registry.models"),  # a dataset has no dash
        ("REGISTRY_TABLE", "ml_registry."),
        ("REGISTRY_TABLE", "`ml_registry.models`"),
        ("BIGQUERY_EMULATOR_HOST", "localhost:9050"),  # the client library would not reach it
        ("BIGQUERY_EMULATOR_HOST", "http://"),
        ("THREADS", "many"),
        ("THREADS", "0"),
        ("THREADS", "-1"),
        ("LINKS", "run=javascript:{value}"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_expected(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{name}: expected .*, found "):
        Settings.from_environ({"GCP_PROJECT_ID": "acme", name: value})


def test_every_problem_is_listed_at_once() -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_environ({"REGISTRY_TABLE": "a", "BIGQUERY_EMULATOR_HOST": "b"})

    assert str(refused.value).count("expected") == 3
