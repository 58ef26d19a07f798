"""The imports of registry/ go one way: down the layout, without a circle."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests import ROOT

# A module imports from its own line or from lines below it.
LAYOUT = """
main
__main__ cli
commands
question
options comparison_table terminal output grid
page
responses
rendering overview timeline versions compare_form
ticks
cache
handler
promotion withdrawal
version_files resolution reconciliation download
table inventory bucket
check
finding placement
comparison
rows moment queries
registration removal
clients
event artifact condition environment links settings gcloud completion outcome log errors __init__
"""
FLOORS = {module: floor for floor, line in enumerate(LAYOUT.split("\n")) for module in line.split()}
ADAPTERS = {"table", "inventory", "bucket"}  # these import no other adapter


def imports(path: Path) -> set[str]:
    """Return the modules of the layout that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(filter(None, ["registry" if node.level else "", node.module]))
            found |= {f"{package}.{alias.name}" for alias in node.names}
    return {name.removeprefix("registry.").partition(".")[0] for name in found} & FLOORS.keys()


def _module(path: Path) -> str:
    """Return the module's name in the layout; the commands share one line of it."""
    return "commands" if path.parent.name == "commands" else path.stem


def problems(folder: Path) -> list[str]:
    """Return what is wrong with the imports of a project's main.py and registry/."""
    paths = [folder / "main.py", *sorted((folder / "registry").rglob("*.py"))]
    graph: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        graph[_module(path)] |= imports(path) - {_module(path)}
    found = [f"{module} is not in the layout" for module in graph if module not in FLOORS]
    for module, imported in graph.items():
        for name in imported:
            if module in FLOORS and FLOORS[name] < FLOORS[module]:
                found.append(f"{module} imports {name}, which is above it")
            if {module, name} <= ADAPTERS:
                found.append(f"the adapter {module} imports the adapter {name}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"a circle: {' -> '.join(error.args[1])}")
    return found


def test_the_imports_go_one_way() -> None:
    assert problems(ROOT) == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        (
            "rows",
            "from registry.table import RegistryTable",
            "rows imports table, which is above it",
        ),
        (
            "event",
            "if TYPE_CHECKING:\n    from registry import cli",
            "event imports cli, which is above",
        ),
        ("log", "def f():\n    import registry.page", "log imports page, which is above it"),
        ("clients", "from . import inventory", "clients imports inventory, which is above it"),
        ("errors", "from .log import line", "a circle: "),
        ("settings", "import main", "settings imports main, which is above it"),
        ("table", "import registry.bucket", "the adapter table imports the adapter bucket"),
        ("artifact", "import registry.event", "a circle: "),
        ("helpers", "", "helpers is not in the layout"),
        ("_private", "", "_private is not in the layout"),
        ("folder/deep", "", "deep is not in the layout"),
        (
            "folder/deep",
            "from registry.commands import show",
            "deep is not in the layout",
        ),
    ],
)
def test_an_import_the_other_way_is_found(
    tmp_path: Path, module: str, source: str, problem: str
) -> None:
    (tmp_path / "registry/folder").mkdir(parents=True)
    (tmp_path / "main.py").touch()
    (tmp_path / "registry/event.py").write_text("import registry.artifact\n")
    (tmp_path / "registry/log.py").write_text("import registry.errors\n")
    (tmp_path / f"registry/{module}.py").write_text(source)

    assert any(found.startswith(problem) for found in problems(tmp_path))
