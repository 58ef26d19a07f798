"""Runs the scripts of deploy/ on a project, and says what they did."""

import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cloud.project import Command, Fault, Json, Project, copied
from tests.cloud.server import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a script has done."""

    status: int
    out: str
    err: str
    commands: Sequence[Command]

    @property
    def changes(self) -> list[str]:
        """The commands that changed something, or failed to, in their order."""
        return [str(command) for command in self.commands if command.changed]

    @property
    def sleeps(self) -> list[float]:
        """How long it waited, each time."""
        return [float(command.words[0]) for command in self.commands if command.tool == "sleep"]

    def of(self, start: str) -> Command:
        """Return the only command that begins so, of those that did not fail."""
        [found] = [c for c in self.commands if str(c).startswith(start) and c.status == 0]
        return found


@dataclass(kw_only=True)
class Cloud:
    """A project, and a copy of deploy/ to run on it."""

    server: Server
    source: Path
    path: list[Path]  # what PATH is
    project: Project
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Json:
        """The project's state, to look at or to change."""
        return self.project.state

    def twin(self, state: Json, **environ: str) -> "Cloud":
        """Return another project, in a copy of a state."""
        project = Project(state=copied(state))
        return Cloud(
            server=self.server,
            source=self.source,
            path=self.path,
            project=project,
            environ={**self.environ, **environ},
        )

    def fault(self, words: str, command: str = "", **when: Any) -> None:  # noqa: ANN401 - a fault's fields
        """Have commands fail that contain some words."""
        self.project.faults.append(Fault(words=words, command=command, **when))

    def env(self) -> dict[str, str]:
        """Return a script's environment."""
        key = str(id(self.project))
        self.server.projects[key] = self.project
        return {
            "PATH": os.pathsep.join(map(str, self.path)),
            "CLOUD_PORT": str(self.server.server_address[1]),
            "CLOUD_PROJECT": key,
            "HOME": "/nonexistent",
            **self.environ,
        }

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":  # noqa: ANN401 - Popen's
        """Start a script."""
        script, *arguments = words
        defaults: dict[str, Any] = {
            "cwd": "/",
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": self.env(),
        }
        command = [str(self.source / f"deploy/{script}.sh"), *arguments]
        return subprocess.Popen(command, **{**defaults, **options})

    def run(self, *words: str, stdin: int | None = None) -> Ended:
        """Run a script to its end. Standard input is open and never ends: nobody answers."""
        before, (reads, writes) = len(self.project.commands), os.pipe()
        with self.start(*words, stdin=stdin or reads) as process:
            try:
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
                os.close(reads)
                os.close(writes)
        assert self.project.unknown == [], self.project.unknown
        commands = self.project.commands[before:]
        return Ended(status=process.returncode, out=out, err=err, commands=commands)

    def do(self, *words: str) -> Ended:
        """Run a script that must succeed."""
        ended = self.run(*words)
        assert ended.status == 0, ended.err
        return ended


def at_once[T, R](do: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Do it for all items, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(do, items))
