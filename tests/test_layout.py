"""Rules for the source code, checked by parsing it. `make lint` checks the imports between packages (pyproject.toml)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("slipway", "tasks", "flows", "deployments")
IMPURE = {"os", "time", "datetime", "pathlib", "subprocess", "socket", "random", "httpx", "sqlalchemy", "logging"}


def modules(package: str) -> list[Path]:
    """Return the source files of a package."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def top_level_packages(path: Path) -> set[str]:
    """Return the top-level packages that a file imports from."""
    return {name.partition(".")[0] for name in imports(path)}


def pure_modules() -> list[Path]:
    """Return the modules whose docstring contains "Pure."."""
    return [path for path in modules("slipway") if "Pure." in (ast.get_docstring(ast.parse(path.read_text())) or "")]


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_pure_modules_do_no_io() -> None:
    """Pure modules import nothing that does I/O. Only pages, accounts and the record may import `datetime`."""
    assert len(pure_modules()) >= 45
    for path in pure_modules():
        shows_times = name_of(path).startswith(("slipway.admin", "slipway.accounts", "slipway.shipping.record"))
        allowed = {"datetime"} if shows_times else set()
        assert top_level_packages(path) & (IMPURE - allowed) == set(), path


def test_flows_do_no_io_of_their_own() -> None:
    """A flow imports only steps, types, settings and pure modules. It does no I/O itself."""
    pure = {name_of(path) for path in pure_modules()}
    allowed = ("slipway.core", "slipway.config", "slipway.tasks", "slipway.flows")
    for path in modules("flows"):
        others = {name for name in imports(path) if name.startswith("slipway.") and not name.startswith(allowed)}
        sources = {name for name in others if (ROOT / name.replace(".", "/")).with_suffix(".py").exists()}
        assert {name for name in sources - pure if name.rpartition(".")[2] not in ("outcomes", "samples")} == set(), (
            path
        )


def test_the_core_runs_without_prefect_and_fastapi() -> None:
    """Importing every module of the core loads neither Prefect nor FastAPI, and connects to nothing."""
    core = [path for path in modules("slipway") if path.relative_to(ROOT).parts[1] != "admin"]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in core]
    code = (
        "import importlib, socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('connected at import time')\n"
        "socket.socket.connect = refuse\n"
        f"for name in {names!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
        "print(sorted({'prefect', 'fastapi'} & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function of a file, also methods and inner functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("package", [*PACKAGES, "examples/shop/shop"])
def test_no_function_over_40_lines_and_no_module_over_300(package: str) -> None:
    """Functions have at most 40 lines, and modules at most 300."""
    for path in modules(package):
        assert path.read_text(encoding="utf-8").count("\n") <= 300, path
        for node in functions(path):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 40, f"{path}: {node.name}"


def test_every_step_documents_a_repeat() -> None:
    """The second sentence of a durable step's docstring states what happens when the step is repeated."""
    steps = 0
    for path in modules("tasks"):
        for node in functions(path):
            if any(ast.unparse(decorator).startswith("durable(") for decorator in node.decorator_list):
                steps += 1
                sentences = (ast.get_docstring(node) or "").split(". ")
                assert len(sentences) >= 2, f"{path}: {node.name}"
                assert sentences[1].startswith("If repeated"), f"{path}: {node.name}"
    assert steps >= 12


def test_every_public_function_of_the_core_has_a_docstring() -> None:
    """Every public function and class at module level has a docstring."""
    for package in PACKAGES:
        for path in modules(package):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in tree.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                    assert ast.get_docstring(node), f"{path}: {node.name}"
