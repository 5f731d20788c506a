"""A service on a database with nothing in it; that of all other tests was started once before."""

from pathlib import Path

from sqlalchemy import URL, select
from starlette.testclient import TestClient

from app.db.tables import Model, OperatingPointRow
from app.inference.port import Inference
from app.main import create_app
from app.settings import Settings


def test_a_first_start_finds_a_model_and_a_threshold_and_a_second_one_changes_nothing(
    empty_url: URL, inference: Inference, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=empty_url.render_as_string(hide_password=False))

    def start() -> list[tuple[str, str | None, str | None]]:
        app = create_app(settings, inference)
        with TestClient(app) as client, app.state.database.read() as session:
            assert client.get("/health/ready").status_code == 200
            models = [(each.id, each.word, each.status) for each in session.scalars(select(Model))]
            points = [(each.id, each.model, each.reason) for each in session.scalars(select(OperatingPointRow))]
            return models + points

    model, point = first = start()
    assert model[1:] == (inference.info.model, "champion")
    assert point[1:] == (inference.info.model, "first start")
    assert start() == first
