"""Two replicas and a worker on one database, for tests of models that take each other's place."""

from collections.abc import Callable
from contextlib import ExitStack
from threading import Event
from time import monotonic, sleep
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.db.tables import Model
from app.inference.port import Inference
from app.jobs.context import Equipment
from app.jobs.handlers import built_in
from app.jobs.runner import JobRunner
from app.main import create_app
from app.settings import Settings
from tests.app.factories import make_headers
from tests.app.models.rotations import BASE, make_rotation

PATIENCE_S = 60.0


class Deployment:
    """Two replicas on one database, and a worker that runs jobs when told to."""

    def __init__(self, settings: Settings, inferences: list[Inference], stack: ExitStack) -> None:
        for inference in inferences:  # as they are when a process starts
            inference.hold(BASE, "dlib-resnet", None)
            inference.serve(BASE)
            for word in inference.models:
                inference.let_go(word)
        self.apps = [create_app(settings, inference) for inference in inferences[:2]]
        self.clients = [stack.enter_context(TestClient(app)) for app in self.apps]
        self.database = self.apps[0].state.database
        self.equipment = Equipment(settings, self.database)
        self.equipment.__dict__["inference"] = inferences[2]
        stack.callback(self.equipment.close)
        self.admin = make_headers(database=self.database, scope="admin")

    def replica(self, number: int) -> FastAPI:
        return self.apps[number]

    def enroll(self, code: str, face: Callable[..., bytes]) -> dict[str, Any]:
        files = [("files", (f"{n}.jpg", face(variant=n), "image/jpeg")) for n in range(3)]
        data = {"employee_code": code, "name": f"Person {code}", "consent": "true"}
        answer = self.clients[0].post("/v1/enroll", data=data, files=files, headers=self.admin)
        assert answer.status_code == 201, answer.text
        enrolled: dict[str, Any] = answer.json()
        return enrolled

    def identify(self, replica: int, picture: bytes) -> dict[str, Any]:
        files = {"image": ("p.jpg", picture, "image/jpeg")}
        answer = self.clients[replica].post("/v1/identify", files=files, headers=self.admin)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def add_rotation(self, seed: int) -> Model:
        return make_rotation(database=self.database, sealer=self.apps[0].state.sealer, seed=seed)

    def promote(self, model: Model, **body: Any) -> dict[str, Any]:
        """Ask for it, and have the worker do it; returns the job."""
        answer = self.clients[0].post(f"/v1/models/{model.id}/promote", json=body, headers=self.admin)
        assert answer.status_code == 202, answer.text
        return self.work(answer.json()["job_id"])

    def work(self, job_id: str, stopping: Event | None = None) -> dict[str, Any]:
        JobRunner("wrk_of_this_test", self.equipment, built_in(), stopping or Event()).run(job_id)
        job: dict[str, Any] = self.clients[0].get(f"/v1/jobs/{job_id}", headers=self.admin).json()
        return job

    def wait_until(self, is_so: Callable[[], bool]) -> float:
        began_s = monotonic()
        while not is_so():
            assert monotonic() - began_s < PATIENCE_S
            sleep(0.02)
        return monotonic() - began_s


def named(said: dict[str, Any]) -> str | None:
    person = said["faces"][0]["person"]
    return None if person is None else str(person["employee_code"])
