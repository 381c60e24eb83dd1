"""The house keeps its order: imports go one way, public names exist, importing the package costs little, files stay readable."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import deixis

SOURCE = Path(deixis.__file__).parent

# From the ground up: a room imports only rooms that stand before it here.
ROOMS = [
    "errors",
    "geometry",
    "media",
    "model",
    "engine",
    "backends",
    "experts",
    "spatial",
    "agent",
    "create",
    "service",
    "cli",
    "lab",
]
# cli stands below lab, and offers its commands: it may reach down, lazily (inside a function), and nobody else may.
MAY_REACH_DOWN = {("cli", "lab")}
# lab trains nano on the prompts that spatial sends, so it stands below everything and may import all.
NUMPY_ONLY = {"errors": set(), "geometry": {"numpy"}, "media": {"numpy", "PIL", "av"}}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module with the room that it is in."""
    for path in sorted(SOURCE.rglob("*.py")):
        inside = path.relative_to(SOURCE)
        if inside != Path("__init__.py") and inside.parts[0] != "__main__.py":
            yield inside.parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Dotted names of everything imported, with line and whether the import runs when the module does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(node) for function in ast.walk(tree) if isinstance(function, FUNCTIONS) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in inner
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno, id(node) not in inner


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
MODULES = list(modules())
BY_PATH = [pytest.param(room, path, id=str(path.relative_to(SOURCE))) for room, path in MODULES]


def test_every_room_is_in_the_list() -> None:
    assert {room for room, _ in MODULES} <= set(ROOMS)


@pytest.mark.parametrize(("room", "path"), BY_PATH)
def test_imports_go_one_way(room: str, path: Path) -> None:
    for name, line, at_import in imports(path):
        parts = name.split(".")
        if parts[0] != "deixis" or parts[1] not in ROOMS or parts[1] == room:
            continue
        reaches_down = (room, parts[1]) in MAY_REACH_DOWN and not at_import
        assert reaches_down or ROOMS.index(parts[1]) < ROOMS.index(room), (
            f"{path}:{line}: {room} imports {parts[1]}, a room below"
        )


@pytest.mark.parametrize(("room", "path"), [row for row in BY_PATH if row.values[0] in NUMPY_ONLY])
def test_the_ground_floor_needs_little(room: str, path: Path) -> None:
    foreign = {name.split(".")[0] for name, _, _ in imports(path)} - set(sys.stdlib_module_names) - {"deixis"}
    assert foreign <= NUMPY_ONLY[room]


@pytest.mark.parametrize("room", sorted({room for room, _ in MODULES}))
def test_public_names_exist(room: str) -> None:
    module = importlib.import_module(f"deixis.{room}")
    assert module.__doc__, f"deixis.{room} does not say what it knows"
    names = getattr(module, "__all__", None)
    assert names, f"deixis.{room} has no __all__"
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(module, name), f"deixis.{room}.__all__ names {name}, which does not exist"


@pytest.mark.parametrize(("room", "path"), BY_PATH)
def test_every_module_says_what_it_knows(room: str, path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("room", "path"), BY_PATH)
def test_no_file_outgrows_its_reader(room: str, path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_the_package_itself_is_cheap_to_import() -> None:
    heavy = ("torch", "numpy", "scipy", "PIL", "av", "mujoco", "transformers", "rich", "httpx")
    code = f"import sys, deixis; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_deixis_is_found_when_first_asked_for() -> None:
    assert deixis.Deixis.__name__ == "Deixis"
    assert deixis.__version__[0].isdigit()
    assert set(dir(deixis)) == {"Deixis", "__version__"}
    with pytest.raises(AttributeError, match="Nothing"):
        deixis.Nothing  # noqa: B018
