"""Cloud Storage."""

import re
from pathlib import Path

from tests.cloud.call import Call, command
from tests.cloud.project import AGENTS, Failed


@command("storage service-agent", "--project=", api="storage")
def _(call: Call) -> None:
    call.print(AGENTS[0])


@command(
    "storage buckets create",
    "--project= --location= --uniform-bucket-level-access --public-access-prevention",
    api="storage",
)
def _(call: Call) -> None:
    [url] = call.arguments
    if url in call.state["buckets"]:
        raise Failed(
            "HTTPError 409: Your previous request to create the named bucket succeeded and you"
            " already own it."
        )
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", url):
        raise Failed(f"Invalid bucket name in URL: {url}")
    call.say(f"Creating {url}/...")
    call.state["buckets"][url] = {
        "location": call.flag("--location", "US").upper(),
        "uniform_bucket_level_access": "--uniform-bucket-level-access" in call.flags,
        "public_access_prevention": "--public-access-prevention" in call.flags,
    }


@command("storage buckets update", "--versioning", api="storage")
def _(call: Call) -> None:
    call.find("buckets", "{name} not found: 404.")["versioning_enabled"] = True
    call.say(f"Updating {call.arguments[0]}/...")


@command("storage cp", "--custom-metadata=", api="storage")
def _(call: Call) -> None:
    source, url = call.arguments
    if not Path(source).is_file():
        raise Failed(f"The following URLs matched no objects or files:\n-{source}")
    if "gs://" + url.removeprefix("gs://").partition("/")[0] not in call.state["buckets"]:
        raise Failed("The specified bucket does not exist.")
    call.say(f"Copying file://{source} to {url}")
    call.state["objects"].append(url)


@command("storage rm", "--all-versions", api="storage")
def _(call: Call) -> None:
    [url] = call.arguments
    if url not in call.state["objects"]:
        raise Failed(f"The following URLs matched no objects or files:\n-{url}")
    call.say(f"Removing {url}#1795404227814215...")
    call.state["objects"].remove(url)
