import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Engine, inspect, text

from app.db.engine import make_engine
from app.db.migrate import all_revisions, current_revision, downgrade, head_revision, upgrade
from app.db.tables import Base

MIGRATE = """
import sys
from sqlalchemy import make_url
from app.db.engine import make_engine
from app.db.migrate import upgrade
upgrade(make_engine(make_url(sys.argv[1])))
"""


@pytest.fixture
def engine(empty_url: URL) -> Iterator[Engine]:
    engine = make_engine(empty_url)
    yield engine
    engine.dispose()


def test_the_migrated_schema_is_the_one_the_models_describe(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
        assert current_revision(connection) == head_revision() is not None


def test_migrating_down_removes_every_table_and_up_again_brings_them_back(engine: Engine) -> None:
    upgrade(engine)
    downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    upgrade(engine)
    assert set(Base.metadata.tables) < set(inspect(engine).get_table_names())


def schema(engine: Engine) -> dict[str, Any]:
    """Everything that a migration can change, in an order of its own."""
    seen = inspect(engine)
    return {
        table: {
            "columns": sorted((c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)),
            "indexes": sorted((str(i["name"]), i["column_names"], i["unique"]) for i in seen.get_indexes(table)),
            "keys": sorted((str(k["name"]), k["constrained_columns"]) for k in seen.get_foreign_keys(table)),
            "unique": sorted((str(u["name"]), u["column_names"]) for u in seen.get_unique_constraints(table)),
        }
        for table in seen.get_table_names()
        if table != "alembic_version"
    }


def test_every_migration_can_be_undone_and_done_again(engine: Engine) -> None:
    previous, before = "base", schema(engine)
    for revision in all_revisions():
        upgrade(engine, revision)
        after = schema(engine)
        downgrade(engine, previous)
        assert schema(engine) == before, revision
        upgrade(engine, revision)
        assert schema(engine) == after != before, revision
        previous, before = revision, after


def test_migrating_twice_changes_nothing_and_the_gallery_starts_at_revision_zero(engine: Engine) -> None:
    upgrade(engine)
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, revision, model FROM gallery_state")).all() == [(1, 0, None)]


def test_replicas_that_start_together_take_turns(empty_url: URL, engine: Engine) -> None:
    command = [sys.executable, "-c", MIGRATE, empty_url.render_as_string(hide_password=False)]
    replicas = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    outcomes = [(replica.communicate()[1], replica.returncode) for replica in replicas]
    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
    with engine.connect() as connection:
        assert current_revision(connection) == head_revision()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_foreign_keys_are_enforced_again_after_a_migration(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
