"""
The files of pinned requirements, and how they are made.

As a program it makes them all: `python -m tests.pins`. Options are uv's: `--upgrade-package flask`.
"""

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from tests import ROOT

UV = Path(sys.executable).with_name("uv")
FILES = [
    "requirements.txt",
    "tests/requirements.txt",
    "deploy/local/storage.txt",
    "deploy/local/bigquery.txt",
]


def pins(path: Path) -> list[str]:
    """Return what is pinned, `name[extra]==version` and where it applies; hashes aside."""
    lines = path.read_text().splitlines()
    return [line.removesuffix("\\").strip() for line in lines if re.match(r"[a-z]", line)]


def compile_pins(name: str, output: Path, *options: str) -> None:
    """Run the command in a file's first lines for another file; pins in there that fit are kept."""
    [command] = re.findall(r"^#    uv (.*)$", (ROOT / name).read_text(), re.MULTILINE)
    head, _, target = command.rpartition(" ")
    assert target == name
    written = [UV, *head.split(), output, "--custom-compile-command", f"uv {command}"]
    subprocess.run([*written, *options, "--quiet"], cwd=ROOT, check=True, timeout=120)
    output.write_text(extras_first(output.read_text()))


def extras_first(text: str) -> str:
    """
    Move the pins with extras to the top, and each of them above those that need it.

    pip before 23.3 knows from `google-auth[pyopenssl]==…` which google-auth is wanted only once it
    has read that line. If a line above needs google-auth, it looks at the newest, and ends because
    that one has no hash.
    """
    head, *blocks = re.split(r"\n(?=[a-z])", text.rstrip())
    extras = {match[0]: block for block in blocks if (match := re.match(r"[\w-]+(?=\[)", block))}
    needed_by = {
        name: re.findall(r"^ +#(?: via)? +([\w-]+)$", block, re.MULTILINE)
        for name, block in extras.items()
    }
    above = {name: [one for one in extras if name in needed_by[one]] for name in extras}
    first = [extras[name] for name in TopologicalSorter(above).static_order()]
    return "\n".join([head, *first, *(block for block in blocks if block not in first), ""])


if __name__ == "__main__":
    for file in FILES:
        compile_pins(file, ROOT / file, *sys.argv[1:])
