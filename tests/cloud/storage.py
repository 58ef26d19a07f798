"""Cloud Storage."""

import re

from tests.cloud.call import Call, command
from tests.cloud.kinds import Kind
from tests.cloud.project import AGENTS, NUMBER, Failed, Json


def make_bucket(call: Call) -> Json:
    [url] = call.arguments
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", url):
        raise Failed(f"Invalid bucket name in URL: {url}")
    flags = ("--uniform-bucket-level-access", "--public-access-prevention")
    return {
        "projectNumber": NUMBER,
        "location": call.flag("--location", "US").upper(),
        **{f: f in call.flags for f in flags},
    }


BUCKETS = Kind(
    group="storage buckets",
    state="buckets",
    api="storage",
    place="--project=",
    missing="{name} not found: 404.",
    policy=True,
    condition=True,
    make=make_bucket,
    details="--raw",
    options="--location= --uniform-bucket-level-access --public-access-prevention",
).register()


@command("storage service-agent", "--project=", api="storage")
def _(call: Call) -> None:
    call.print(AGENTS[0])


@command("storage buckets update", "--versioning", api="storage")
def _(call: Call) -> None:
    BUCKETS.find(call)["versioning"] = {"enabled": True}
    call.say(f"Updating {call.arguments[0]}/...")


@command("storage cp", "--custom-metadata=", api="storage")
def _(call: Call) -> None:
    _, url = call.arguments
    if "gs://" + url.removeprefix("gs://").partition("/")[0] not in call.state["buckets"]:
        raise Failed("The specified bucket does not exist.")
    call.state["objects"].append(url)


@command("storage rm", "--all-versions", api="storage")
def _(call: Call) -> None:
    [url] = call.arguments
    if url not in call.state["objects"]:
        raise Failed(f"The following URLs matched no objects or files:\n-{url}")
    call.state["objects"].remove(url)
