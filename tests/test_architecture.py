"""Which part may import which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What `ml` must work without: it is arrays in, arrays out.
NOT_FOR_ML = {"app", "migrations", "fastapi", "starlette", "sqlalchemy", "alembic", "pydantic_settings", "uvicorn"}


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module))
    return {name.split(".")[0] for name in names}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", sources("ml"), ids=lambda path: str(path.relative_to(ROOT)))
def test_ml_knows_nothing_of_the_service(path: Path) -> None:
    assert not imported_packages(path) & NOT_FOR_ML


def test_only_the_nearest_neighbour_index_imports_faiss() -> None:
    users = [path for path in sources("ml") + sources("app") if "faiss" in imported_packages(path)]
    assert [path.relative_to(ROOT).as_posix() for path in users] in ([], ["ml/nearest.py"])
