"""The addresses of values of metadata."""

import pytest

from registry.errors import InvalidSettings
from registry.links import Links

COMMIT = "https://git.example.com/acme/models/commit/{value}"
RUN = "http://mlflow:5000/#/runs/{value}?tab=1"


def test_a_value_leads_to_its_address() -> None:
    links = Links.parse(f"git_commit={COMMIT}\n  run_id={RUN} ")

    assert links.url("git_commit", "8d1f2ab") == COMMIT.replace("{value}", "8d1f2ab")
    assert links.url("run_id", "7") == "http://mlflow:5000/#/runs/7?tab=1"
    assert links.url("framework", "xgboost") is None


def test_a_value_stays_one_part_of_a_path() -> None:
    links = Links.parse(f"git_commit={COMMIT}")

    assert links.url("git_commit", '../"><a?b#c&é') == COMMIT.replace(
        "{value}", "..%2F%22%3E%3Ca%3Fb%23c%26%C3%A9"
    )


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_what_would_lead_elsewhere_is_no_link(value: str) -> None:
    assert Links.parse(f"git_commit={COMMIT}").url("git_commit", value) is None


def test_nothing_configured_is_no_link() -> None:
    assert Links.parse("").url("git_commit", "8d1f2ab") is None


@pytest.mark.parametrize(
    "text",
    [
        "git_commit",  # no address
        "=https://git.example.com/{value}",  # no key
        "git_commit=https://git.example.com/",  # no place for the value
        "git_commit=https://git.example.com/{value}/{value}",  # two
        "git_commit=javascript:alert({value})",  # not the web
        "git_commit=//git.example.com/{value}",  # no scheme
        "git_commit=https://{value}/",  # a value would choose the host
        "git_commit=https://git.example.com{value}/",  # the same
        "git_commit=https://[x]/{value}",  # no host
        "git_commit=https://:80/{value}",  # the same
    ],
)
def test_a_template_of_another_form_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidSettings, match="LINKS: expected <key>=https://") as raised:
        Links.parse(f"run_id={RUN} {text}")

    assert repr(text) in str(raised.value)
