"""Cloud Storage."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

from tests.cloud.call import Call, command, show
from tests.cloud.kinds import Kind
from tests.cloud.project import AGENTS, NUMBER, Failed, Json, Unknown


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
    bucket, _, name = url.removeprefix("gs://").partition("/")
    if f"gs://{bucket}" not in call.state["buckets"]:
        raise Failed("The specified bucket does not exist.")
    call.state["objects"].append(stored(bucket, name, 1))


def stored(bucket: str, name: str, generation: int, **more: object) -> Json:
    """Make a generation of an object. With `hold`, it cannot be deleted."""
    return {"bucket": bucket, "name": name, "generation": generation, "size": 10, **more}


@command("storage rm", "--all-versions", api="storage")
def _(call: Call) -> None:
    """What was live stays as another generation, if the bucket keeps those."""
    [url], everything = call.arguments, "--all-versions" in call.flags
    there = [
        one
        for one in call.state["objects"]
        if f"gs://{one['bucket']}/{one['name']}" == url and (everything or not one.get("kept"))
    ]
    if not there:
        raise Failed(f"The following URLs matched no objects or files:\n-{url}")
    keeps = call.state["buckets"][f"gs://{there[0]['bucket']}"].get("versioning")
    call.state["objects"] = [one for one in call.state["objects"] if one not in there]
    if keeps and not everything:
        call.state["objects"] += [one | {"kept": True} for one in there]


@command("storage objects list", "--raw --format=", api="storage")
def _(call: Call) -> None:
    """All generations. Of wildcards it knows `**` at the end alone."""
    bucket, _, pattern = call.arguments[0].removeprefix("gs://").partition("/")
    if f"gs://{bucket}" not in call.state["buckets"]:
        raise Failed(f"gs://{bucket} not found: 404.")
    prefix = pattern.removesuffix("**")
    if prefix == pattern or re.search(r"[*?\[\]]", prefix):
        raise Unknown(pattern)
    there = [o for o in call.state["objects"] if o["bucket"] == bucket]
    show(call, *(o for o in there if o["name"].startswith(prefix)))


def change_objects(call: Call) -> None:
    """Answer the JSON API's objects.delete and objects.patch, as curl asks them from a file."""
    config = Path(call.words[call.words.index("--config") + 1]).read_text()
    assert 'header = "Authorization: Bearer token"' in config
    method = re.findall(r'^request = "(DELETE|PATCH)"$', config, re.MULTILINE)[0]
    address = r'^url = "https://storage.googleapis.com/storage/v1/b/(.+)/o/(.+)\?generation=(\d+)"$'
    for bucket, name, generation in re.findall(address, config, re.MULTILINE):
        at = (bucket, unquote(name), int(generation))
        status, message = 404, f"No such object: {bucket}/{unquote(name)}"
        for one in call.state["objects"]:
            if (one["bucket"], one["name"], one["generation"]) != at:
                continue
            if "hold" in one and method == "DELETE":
                status, message = 403, f"Object is under active {one['hold']} hold."
            elif method == "DELETE":
                call.state["objects"].remove(one)
                status = 204
            else:
                assert r"{\"metadata\": {\"uploader\": null}}" in config
                del one["metadata"]["uploader"]
                status = 200
            break
        body = {"error": {"code": status, "message": message}} if status >= 400 else {}
        call.print(f"{json.dumps(body, indent=2)}\nstatus {status}")
