"""Imports only go down: every import statement in the packages, against the table of floors.

Statements are read, not run, so an import inside a function or for type checking counts as well.
What only those who use it may pay for (JAX, plots, graphs) must not be imported by a plan.
"""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import planner

ROOT = Path(planner.__file__).parent.parent
PACKAGES = ("costmodels", "hardware_profiles", "planner")

# A module is on the floor of its longest listed prefix; it may import its own floor and those
# below. A new room, and a new file directly in `planner/`, needs a line here.
FLOORS: dict[int, tuple[str, ...]] = {
    0: ("costmodels", "hardware_profiles", "planner.errors", "planner.nearest"),
    1: (
        "planner.cluster",
        "planner.dims",
        "planner.fields",
        "planner.fold",
        "planner.graph",
        "planner.job",
        "planner.models",
        "planner.objective",
        "planner.operator_graph",
        "planner.problem",
        "planner.strategy",
        "planner.table",
    ),
    2: ("planner.importers", "planner.search", "planner.sharding", "planner.workloads"),
    3: (
        "planner.design",
        "planner.jax_here",
        "planner.predictor",
        "planner.reading",
        "planner.spec",
    ),
    4: (
        "planner.explain",
        "planner.fitting",
        "planner.functions",
        "planner.plan",
        "planner.planning",
        "planner.recommend",
        "planner.solve",
        "planner.validate",
    ),
    5: ("planner.calibrate", "planner.check", "planner.emit", "planner.report"),
    6: ("planner.__main__", "planner.cli"),
}
FLOOR_OF = {prefix: floor for floor, prefixes in FLOORS.items() for prefix in prefixes}

# Rooms that never see each other, whatever their floors; the first never imports the second.
APART = (
    ("costmodels", "hardware_profiles"),
    ("hardware_profiles", "costmodels"),
    ("planner.workloads", "planner.search"),
    ("planner.search", "planner.workloads"),
    ("planner.sharding", "planner.search"),
    ("planner.search", "planner.sharding"),
    ("planner.design", "planner.reading"),
    ("planner.reading", "planner.design"),
    ("planner.report", "planner.plan"),
    ("planner.report", "planner.planning"),
    ("planner.report", "planner.recommend"),
    ("planner.emit", "planner.plan"),
    ("planner.emit", "planner.planning"),
    ("planner.emit", "planner.recommend"),
)

# Who may import a library at all, and who of them only where it is used.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "numpy": ("costmodels", "planner"),
    "pydantic": ("hardware_profiles", "planner"),
    "pydantic_core": ("planner.reading.complain",),
    "ruamel": ("hardware_profiles", "planner.reading.document", "planner.models.load"),
    "networkx": ("planner.cluster", "planner.graph", "planner.search"),
    "ortools": ("planner.search",),
    "pytoulbar2": ("planner.search",),
    "scipy": ("planner.calibrate", "planner.fitting", "planner.search"),
    "jinja2": ("planner.emit", "planner.report"),
    "markupsafe": ("planner.report",),
    "matplotlib": ("planner.report",),
    "rich": ("planner.report", "planner.cli"),
    "typer": ("planner.cli",),
    "jax": ("planner.calibrate", "planner.check", "planner.importers.jaxpr"),
}
WHEN_USED = ("jax", "matplotlib", "networkx", "ortools", "pytoulbar2", "scipy")
# Rooms that are about JAX and whose commands alone load them: it may stand at the top there.
ABOUT_JAX = ("planner.calibrate", "planner.check")


@dataclass(frozen=True)
class Import:
    """`module` imports `target`: at its top, lazily (in a function) or for type checking."""

    module: str
    target: str
    line: int
    when: str


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of the three packages, by name; models among the examples are a user's."""
    paths = [p for top in PACKAGES for p in sorted((ROOT / top).rglob("*.py"))]
    return {_name(p): p for p in paths if ROOT / "planner" / "examples" not in p.parents}


def _statements(node: ast.AST, when: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        inside = when
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside = "lazy"
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            inside = "types"
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        yield from _statements(child, inside)


def imports_of(module: str, text: str) -> list[Import]:
    """List what a module's text imports; `from package import module` names the module."""
    found = []
    for statement, when in _statements(ast.parse(text), "top"):
        line = statement.lineno
        if isinstance(statement, ast.Import):
            found += [Import(module, alias.name, line, when) for alias in statement.names]
            continue
        assert statement.level == 0, f"{module}:{line}: relative imports hide the floor"
        for alias in statement.names:
            full = f"{statement.module}.{alias.name}"
            target = full if full in modules() else str(statement.module)
            found.append(Import(module, target, line, when))
    return found


@cache
def every_import() -> tuple[Import, ...]:
    """List every import statement of the three packages."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    return tuple(one for name, text in texts.items() for one in imports_of(name, text))


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def floor_of(module: str) -> int | None:
    """Floor of the longest listed prefix; the package `planner` itself is only its version."""
    if module == "planner":
        return 0
    prefixes = [prefix for prefix in FLOOR_OF if within(module, prefix)]
    return FLOOR_OF[max(prefixes, key=len)] if prefixes else None


def climbs(imports: tuple[Import, ...] | list[Import]) -> list[str]:
    """List the imports of a module on a higher floor."""
    found = []
    for one in imports:
        if one.target.split(".")[0] in PACKAGES:
            here, there = floor_of(one.module), floor_of(one.target)
            if here is not None and there is not None and there > here:
                found.append(f"{one.module}:{one.line}: {here} climbs to {one.target} on {there}")
    return found


def test_every_module_has_a_floor() -> None:
    without = [name for name in modules() if floor_of(name) is None]
    assert without == []


def test_every_line_of_the_table_is_a_module() -> None:
    there = {prefix for prefix in FLOOR_OF if any(within(name, prefix) for name in modules())}
    assert set(FLOOR_OF) - there == set()


def test_imports_only_go_down() -> None:
    assert climbs(every_import()) == []


@pytest.mark.parametrize(("room", "other"), APART)
def test_rooms_that_never_see_each_other(room: str, other: str) -> None:
    seen = [one for one in every_import() if within(one.module, room) and within(one.target, other)]
    assert seen == []


def test_errors_import_nothing() -> None:
    assert [one for one in every_import() if one.module == "planner.errors"] == []


def test_cost_models_know_numpy_and_themselves_alone() -> None:
    outside = {
        one.target.split(".")[0] for one in every_import() if within(one.module, "costmodels")
    }
    assert outside - set(sys.stdlib_module_names) == {"numpy", "costmodels"}


def test_no_circles_among_imports() -> None:
    """At the top of modules; what a function imports when it runs cannot close a circle."""
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for one in every_import():
        if one.when == "top" and one.target in graph and one.target != one.module:
            graph[one.module].add(one.target)
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert len(order) == len(modules())


def room_of(module: str) -> str:
    """Return the room of a module: its package, or itself directly in `planner/`."""
    return ".".join(module.split(".")[:2] if within(module, "planner") else [module.split(".")[0]])


def test_no_circles_among_rooms() -> None:
    """Rooms can be read one after the other: no two need each other, on one floor or not."""
    graph: dict[str, set[str]] = {room_of(name): set() for name in modules()}
    for one in every_import():
        here, there = room_of(one.module), room_of(one.target)
        if one.when == "top" and there in graph and there != here:
            graph[here].add(there)
    assert set(graphlib.TopologicalSorter(graph).static_order()) == set(graph)


def test_libraries_are_imported_where_they_belong() -> None:
    wrong = []
    for one in every_import():
        library = one.target.split(".")[0]
        if library in PACKAGES or library in sys.stdlib_module_names:
            continue
        rooms = LIBRARIES.get(library, ())
        if not any(within(one.module, room) for room in rooms):
            wrong.append(f"{one.module}:{one.line} imports {library}")
        elif library == "jax" and any(within(one.module, room) for room in ABOUT_JAX):
            continue
        elif library in WHEN_USED and one.when == "top":
            wrong.append(f"{one.module}:{one.line} imports {library} before it is used")
    assert wrong == []


def test_a_climb_is_seen_wherever_it_hides() -> None:
    hidden = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from planner.recommend import Thing
def late():
    import planner.cli
class Room:
    def window(self):
        from planner import report
from planner.job import Job
from costmodels import units
"""
    found = climbs(imports_of("planner.workloads.training.cost", hidden))
    assert [text.split(" climbs to ")[1] for text in found] == [
        "planner.recommend on 4",
        "planner.cli on 6",
        "planner.report on 5",
    ]
    assert [one.when for one in imports_of("costmodels.units", hidden)][1:4] == [
        "types",
        "lazy",
        "lazy",
    ]


def test_a_plan_pays_for_no_library_that_it_does_not_use() -> None:
    """Plan a shipped example in a new interpreter and look at what was loaded."""
    job = str(ROOT / "planner" / "examples" / "llama3-8b-8-h100.yaml")
    program = f"""
import json, sys
from planner.__main__ import main
sys.argv = ["sixfold", "plan", {job!r}, "--json", "-"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {(*WHEN_USED, "pytest", "torch", "pandas")!r}
print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["strategy"]
    assert json.loads(done.stderr.splitlines()[-1]) == []
