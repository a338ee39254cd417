"""The invariants of ARCHITECTURE.md that import-linter cannot see."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grimp

from tests.tidy.repository import PACKAGES, ROOT, name_of, python_files

# What the domain may import beside itself: pure computation and types. import-linter forbids what is known to be
# impure; this list also stops what nobody has thought of.
DOMAIN_MAY_IMPORT: Final = {
    # standard library
    "__future__", "abc", "array", "base64", "bisect", "collections", "contextlib", "copy", "dataclasses", "difflib",
    "enum", "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "json", "math", "operator", "re",
    "string", "struct", "types", "typing", "unicodedata", "urllib", "zlib",
    # libraries
    "blake3", "cbor2", "nacl", "pycrdt", "transitions",
}  # fmt: skip
MAY_START_TASKS: Final = ("node/runtime.py", "adapters/simulation/")
STARTS_TASK: Final = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
ADAPTERS_PER_PORT_MIN: Final = 2  # the real one, and one in memory with faults


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def classes(*folders: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Every class under these folders of the repository, with the name of its file."""
    for path in python_files(folders[0].split("/")[0]):
        if name_of(path).startswith(folders):
            for node in ast.walk(parse(path)):
                if isinstance(node, ast.ClassDef):
                    yield name_of(path), node


def base_names(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split("[")[0].rpartition(".")[2] for base in node.bases}


def ports() -> dict[str, ast.ClassDef]:
    return {
        node.name: node for _, node in classes("domain/ports/") if "Protocol" in base_names(node)
    }


def parts_of_ports() -> set[str]:
    """The protocols that another one hands out (a network its connections): they share its contract."""
    known = ports()
    return {
        name.id
        for owner, port in known.items()
        for method in port.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.returns
        for name in ast.walk(method.returns)
        if isinstance(name, ast.Name) and name.id in known and name.id != owner
    }


def adapters_under_test() -> dict[str, set[str]]:
    """For each class under tests, the test classes that inherit from it, directly or not."""
    parents = {node.name: base_names(node) for _, node in classes("tests/")}
    children: dict[str, set[str]] = defaultdict(set)
    for name, direct in parents.items():
        above = set(direct)
        while above:
            ancestor = above.pop()
            if name.startswith("Test"):
                children[ancestor].add(name)
            above |= parents.get(ancestor, set())
    return children


def test_domain_imports_pure_things_only() -> None:
    graph = grimp.build_graph("domain", include_external_packages=True, cache_dir=None)
    imported = {
        name.split(".")[0]: module
        for module in graph.modules
        for name in graph.find_modules_directly_imported_by(module)
    }
    assert {name: imported[name] for name in imported.keys() - DOMAIN_MAY_IMPORT - {"domain"}} == {}


def test_domain_waits_for_nothing() -> None:
    waiting = ast.Await | ast.AsyncFor | ast.AsyncWith
    found = []
    for path in python_files("domain"):
        name = name_of(path)
        kinds = waiting if name.startswith("domain/ports/") else waiting | ast.AsyncFunctionDef
        found += [f"{name}:{n.lineno}" for n in ast.walk(parse(path)) if isinstance(n, kinds)]
    assert found == []


def test_method_of_a_port_is_abstract_and_says_what_it_does() -> None:
    found = [
        f"{port.name}.{method.name}"
        for port in ports().values()
        for method in port.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
        if "abstractmethod" not in {ast.unparse(each) for each in method.decorator_list}
        or not ast.get_docstring(method)
        or len(method.body) > 1
    ]
    assert found == []


def test_port_has_a_contract() -> None:
    contracts = {node.name for _, node in classes("tests/contracts/")}
    expected = {f"{port}Contract" for port in ports().keys() - parts_of_ports()}
    assert expected - contracts == set()


def test_contract_is_passed_by_several_adapters() -> None:
    passing = adapters_under_test()
    contracts = [n.name for _, n in classes("tests/contracts/") if n.name.endswith("Contract")]
    counts = {contract: len(passing[contract]) for contract in contracts}
    assert {name for name, count in counts.items() if count < ADAPTERS_PER_PORT_MIN} == set()


def test_only_the_runtime_starts_tasks() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in python_files(*PACKAGES)
        if not name_of(path).startswith(MAY_START_TASKS)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        if (called := ast.unparse(node.func).rpartition(".")[2]) in STARTS_TASK
        or called == "TaskGroup"
    ]
    assert found == []


def test_tests_use_no_mock() -> None:
    """A fake passes the contract suite of what it stands for; a mock agrees with whatever its author believes."""
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in python_files("tests")
        for node in ast.walk(parse(path))
        if (isinstance(node, ast.ImportFrom) and node.module in {"unittest", "unittest.mock"})
        or (isinstance(node, ast.Import) and "unittest.mock" in {each.name for each in node.names})
    ]
    assert found == []


def test_package_says_what_it_is_for() -> None:
    folders = {path.parent for path in python_files(*PACKAGES)}
    without = [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert without == []
    silent = [name_of(p) for p in python_files(*PACKAGES) if not ast.get_docstring(parse(p))]
    assert silent == []


def test_package_tells_type_checkers_that_it_is_typed() -> None:
    assert [name for name in PACKAGES if not (ROOT / name / "py.typed").exists()] == []
