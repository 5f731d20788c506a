"""What goes wrong while models change places: nobody is lost without a word, and what is in force stays in force."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

import pytest
from sqlalchemy import event, func, select, text

from app.db.engine import Database, open_database
from app.db.tables import GalleryState, Model, TemplateCrop, TemplateEmbedding
from app.gallery import queries as gallery_queries
from app.gallery import registry as replicas
from app.gallery.changes import record_switch
from app.gallery.replica import GalleryReplica
from app.inference.batched import BatchedInference
from app.inference.port import Inference, ModelNotHeldError
from app.models import registry, service
from app.models.embedding import Reembedder
from app.models.schemas import RollBack
from app.models.standby import trouble_with
from app.models.switching import _exchange
from app.sealing import Sealer
from app.settings import Settings
from ml.backbones import load_backbone
from tests.app import clips, photos
from tests.app.factories import make_embedding, make_person, make_template
from tests.app.inference.fakes import WAIT_S, FakeRunner, make_ask
from tests.app.models.deployment import Deployment, named
from tests.app.models.rotations import BASE
from tests.ml.backbones.test_onnx_file import make_network

ABROAD = "rep_of_another_machine"
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("backend", ["postgres"], indirect=True)


@pytest.fixture
def forgetful(settings: Settings, inferences: list[Inference]) -> Iterator[Deployment]:
    """A deployment that keeps no pictures of those who are enrolled."""
    with ExitStack() as stack:
        yield Deployment(settings.model_copy(update={"keep_template_crops": False}), inferences, stack)


def add_network(deployment: Deployment, folder: Path) -> tuple[Model, Path]:
    """Another network as challenger, and its file; it embeds nothing but colours."""
    file = make_network(folder)
    with deployment.database.write() as session:
        model = registry.add(
            session,
            kind="backbone",
            backbone=f"onnx:{file}",
            card=load_backbone(f"onnx:{file}").card,
            status="challenger",
            reason="a test says so",
            report=None,
            job_id=None,
            by="test",
            weights=None,
            sealer=deployment.apps[0].state.sealer,
        )
    return model, file


def in_force(deployment: Deployment) -> tuple[str | None, str | None]:
    """The words of the model that is searched with and of the one beside it, as the database has them."""
    with deployment.database.read() as session:
        force = gallery_queries.models_in_force(session)
    return force.searched, force.standby


def champions(deployment: Deployment) -> list[str]:
    with deployment.database.read() as session:
        return list(session.scalars(select(Model.word).where(Model.status == "champion")))


def roll_back(deployment: Deployment, model: Model, **body: Any) -> tuple[int, dict[str, Any]]:
    path = f"/v1/models/{model.id}/rollback"
    answer = deployment.clients[0].post(path, json=body, headers=deployment.admin)
    return answer.status_code, answer.json()


def ask_for(deployment: Deployment, model: Model) -> str:
    """Ask for a promotion that nobody does yet; returns the job's id."""
    answer = deployment.clients[0].post(f"/v1/models/{model.id}/promote", json={}, headers=deployment.admin)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def cancel(deployment: Deployment, job_id: str) -> None:
    answer = deployment.clients[0].post(f"/v1/jobs/{job_id}/cancel", headers=deployment.admin)
    assert answer.status_code == 200, answer.text


def beat_abroad(deployment: Deployment, model: Model, trouble: str | None = None) -> None:
    """A replica on another machine lives, and has nothing ready but this model."""
    facts = {"kind": "api", "host": "abroad", "revision": 0, "n_people": 0, "n_templates": 0}
    with deployment.database.write() as session:
        replicas.beat(session, ABROAD, facts | {"model": model.word, "standby_model": None, "standby_trouble": trouble})


def forget_abroad(deployment: Deployment) -> None:
    with deployment.database.write() as session:
        replicas.forget(session, ABROAD)


def wait_until_standby_is(deployment: Deployment, word: str) -> None:
    deployment.wait_until(lambda: all(app.state.gallery.standby_model == word for app in deployment.apps))


@on_postgres
def test_a_rollback_that_waited_for_a_promotion_elsewhere_leaves_one_champion(deployment: Deployment) -> None:
    """Of two replicas: what one of them read before the other's commit must not be written after it."""
    deployment.enroll("G1", photos.grace)
    first, second = deployment.add_rotation(seed=21), deployment.add_rotation(seed=22)
    assert deployment.promote(first)["status"] == "done"
    databases: list[Database] = [app.state.database for app in deployment.apps]
    pids: Queue[int] = Queue()

    def go_back() -> str:
        with databases[1].write_in_turn() as session:
            pids.put(session.scalars(select(func.pg_backend_pid())).one())
            return service.roll_back(session, first.id, RollBack(), "test").model

    def waits_for_lock(pid: int) -> bool:
        with databases[0].read() as session:
            statement = text("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = :pid")
            return bool(session.scalar(statement, {"pid": pid}))

    with ThreadPoolExecutor(1) as pool:
        with databases[0].write() as session:
            gallery_queries.lock_gallery(session)
            going = pool.submit(go_back)
            pid = pids.get(timeout=WAIT_S)
            deployment.wait_until(lambda: waits_for_lock(pid))
            _exchange(session, registry.by_id(session, second.id))
        assert going.result(WAIT_S) == first.word
    assert champions(deployment) == [first.word]
    assert in_force(deployment) == (first.word, second.word)


@on_sqlite
def test_somebody_whose_crops_cannot_be_opened_is_not_lost_without_a_word(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.enroll("G1", photos.grace)
    lost = [each["id"] for each in deployment.enroll("E1", photos.eileen)["templates"]]
    other, _ = add_network(deployment, tmp_path)
    foreign = Sealer(["a key that somebody has lost, and that was long enough"])
    with deployment.database.write() as session:
        for crop in session.scalars(select(TemplateCrop).where(TemplateCrop.template_id.in_(lost))):
            crop.sealed_crop = foreign.seal(deployment.apps[0].state.sealer.open(crop.sealed_crop))
    refused = deployment.promote(other)
    assert refused["status"] == "failed" and "would have to enrol again" in refused["error"], refused
    assert champions(deployment) == [BASE]
    assert in_force(deployment) == (BASE, None)
    assert named(deployment.identify(1, photos.grace(variant=4))) == "G1"
    accepted = deployment.promote(other, accept_missing=True)
    assert accepted["status"] == "done", accepted
    assert in_force(deployment) == (other.word, BASE)
    deployment.wait_until(lambda: all(app.state.gallery.model == other.word for app in deployment.apps))
    assert [app.state.gallery.version().n_people for app in deployment.apps] == [1, 1]


@on_sqlite
def test_going_back_to_a_model_that_knows_somebody_by_nothing_has_to_be_accepted(forgetful: Deployment) -> None:
    forgetful.enroll("G1", photos.grace)
    model = forgetful.add_rotation(seed=23)
    assert forgetful.promote(model)["status"] == "done"
    wait_until_standby_is(forgetful, BASE)
    forgetful.enroll("E1", photos.eileen)
    status, said = roll_back(forgetful, model)
    assert (status, said["code"]) == (409, "people_would_be_missing"), said
    assert in_force(forgetful) == (model.word, BASE)
    assert named(forgetful.identify(0, photos.eileen(variant=4))) == "E1"
    status, said = roll_back(forgetful, model, accept_missing=True)
    assert (status, said["model"], said["n_people_missing"]) == (200, BASE, 1), said
    forgetful.wait_until(lambda: all(app.state.gallery.model == BASE for app in forgetful.apps))
    assert [named(forgetful.identify(1, face(variant=4))) for face in (photos.grace, photos.eileen)] == ["G1", None]
    status, said = roll_back(forgetful, model)  # nobody is missing there
    assert (status, said["model"], said["n_people_missing"]) == (200, model.word, 0), said


def give_up_by_cancelling(deployment: Deployment, job_id: str, champion: Model, challenger: Model) -> None:
    cancel(deployment, job_id)


def give_up_by_failing(deployment: Deployment, job_id: str, champion: Model, challenger: Model) -> None:
    beat_abroad(deployment, champion, trouble_with(challenger.word, "there is no such file"))


@on_sqlite
@pytest.mark.parametrize(("give_up", "status"), [(give_up_by_cancelling, "cancelled"), (give_up_by_failing, "failed")])
def test_a_promotion_that_was_given_up_leaves_the_way_back_as_it_was(
    deployment: Deployment, give_up: Callable[..., None], status: str
) -> None:
    deployment.enroll("G1", photos.grace)
    first, second = deployment.add_rotation(seed=24), deployment.add_rotation(seed=25)
    assert deployment.promote(first)["status"] == "done"
    beat_abroad(deployment, first)
    job_id = ask_for(deployment, second)
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(deployment.work, job_id)
        deployment.wait_until(lambda: in_force(deployment) == (first.word, second.word))
        give_up(deployment, job_id, first, second)
        job = working.result(WAIT_S)
    assert job["status"] == status, job
    assert in_force(deployment) == (first.word, BASE)
    forget_abroad(deployment)
    wait_until_standby_is(deployment, BASE)
    assert roll_back(deployment, first)[1]["model"] == BASE
    deployment.wait_until(lambda: all(app.state.gallery.model == BASE for app in deployment.apps))
    assert [named(deployment.identify(n, photos.grace(variant=4))) for n in (0, 1)] == ["G1", "G1"]


@on_sqlite
@pytest.mark.parametrize("was_in_use", [False, True])
def test_a_promotion_that_is_cancelled_after_its_worker_left_leaves_the_way_back_as_it_was(
    deployment: Deployment, *, was_in_use: bool
) -> None:
    deployment.enroll("G1", photos.grace)
    first, second = deployment.add_rotation(seed=26), deployment.add_rotation(seed=27)
    if was_in_use:  # long ago
        assert deployment.promote(second)["status"] == "done"
        assert roll_back(deployment, second)[1]["model"] == BASE
    assert deployment.promote(first)["status"] == "done"
    beat_abroad(deployment, first)
    job_id, stopping = ask_for(deployment, second), Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(deployment.work, job_id, stopping)
        deployment.wait_until(lambda: in_force(deployment) == (first.word, second.word))
        stopping.set()
        assert working.result(WAIT_S)["status"] == "queued"
    cancel(deployment, job_id)
    forget_abroad(deployment)
    deployment.wait_until(lambda: in_force(deployment) == (first.word, BASE))
    wait_until_standby_is(deployment, BASE)


@on_sqlite
def test_a_replica_that_could_not_load_one_model_does_not_hold_up_the_next(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.enroll("G1", photos.grace)
    other, file = add_network(deployment, tmp_path)
    deployment.equipment.inference.hold(other.word, other.backbone, None)  # the worker has it, the replicas do not
    file.rename(file.with_suffix(".away"))
    failed = deployment.promote(other)
    assert failed["status"] == "failed" and "cannot load the model" in failed["error"], failed
    model = deployment.add_rotation(seed=28)
    job = deployment.promote(model)
    assert job["status"] == "done", job
    deployment.wait_until(lambda: all(app.state.gallery.model == model.word for app in deployment.apps))
    assert [named(deployment.identify(n, photos.grace(variant=4))) for n in (0, 1)] == ["G1", "G1"]


@on_sqlite
def test_who_is_erased_is_gone_from_replicas_that_cannot_get_the_model_in_force_ready(
    deployment: Deployment, tmp_path: Path
) -> None:
    person_id = deployment.enroll("G1", photos.grace)["person"]["id"]
    deployment.enroll("E1", photos.eileen)
    deployment.wait_until(lambda: all(app.state.gallery.version().n_people == 2 for app in deployment.apps))
    other, file = add_network(deployment, tmp_path)
    worker = deployment.equipment.inference
    worker.hold(other.word, other.backbone, None)
    assert Reembedder(deployment.database, worker, deployment.apps[0].state.sealer).embed_missing(other.word) == []
    file.rename(file.with_suffix(".away"))
    with deployment.database.write() as session:  # as a promotion does that knew nothing of these replicas
        gallery_queries.lock_gallery(session)
        _exchange(session, registry.by_id(session, other.id))
    erased = deployment.clients[0].delete(f"/v1/people/{person_id}", headers=deployment.admin)
    assert erased.status_code == 200, erased.text
    deployment.wait_until(lambda: all(app.state.gallery.version().n_people == 1 for app in deployment.apps))
    assert [app.state.gallery.model for app in deployment.apps] == [BASE, BASE]
    for client in deployment.clients:
        files = {"image": ("p.jpg", photos.grace(variant=4), "image/jpeg")}
        answer = client.post("/v1/identify", files=files, headers=deployment.admin)
        assert answer.status_code == 503 or named(answer.json()) is None, answer.text


def test_a_rebuild_that_a_switch_overtook_ends_with_the_model_in_force(settings: Settings) -> None:
    writer, own = open_database(settings), open_database(settings)
    with writer.write() as session:
        template = make_template(session=session, person=make_person(session=session))
        session.add(TemplateEmbedding(template_id=template.id, model="other/1", embedding=make_embedding(dim=4)))
        session.get_one(GalleryState, 1).model = BASE
    gallery = GalleryReplica(own, model=BASE, dim=128)
    gallery.rebuild()
    gallery.prepare("other/1", 4)
    switching = [True]

    def switch(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM templates" in statement and switching:
            switching.pop()
            with writer.write() as session:
                session.get_one(GalleryState, 1).model = "other/1"
                record_switch(session)
            gallery.catch_up()

    event.listen(own.engine, "before_cursor_execute", switch)
    gallery.rebuild()
    assert not switching
    gallery.catch_up()
    assert (gallery.model, gallery.standby_model) == ("other/1", BASE)
    assert gallery.audit().is_clean
    for database in (writer, own):
        database.dispose()


@on_sqlite
def test_a_worker_that_promoted_and_then_enrols_a_clip_stays_fit(deployment: Deployment, tmp_path: Path) -> None:
    """Its gallery is loaded by the clip's job, when its networks know of two models."""
    deployment.enroll("G1", photos.grace)
    model = deployment.add_rotation(seed=29)
    assert deployment.promote(model)["status"] == "done"
    data = {"employee_code": "E1", "name": "Person E1", "consent": "true"}
    files = [("files", ("clip.mp4", clips.eileen(tmp_path / "e.mp4", n=12).read_bytes(), "video/mp4"))]
    answer = deployment.clients[0].post("/v1/enroll", data=data, files=files, headers=deployment.admin)
    assert answer.status_code == 202, answer.text
    stopping = Event()
    job = deployment.work(answer.json()["job_id"], stopping)
    assert (job["status"], stopping.is_set()) == ("done", False), job
    deployment.wait_until(lambda: all(app.state.gallery.version().n_people == 2 for app in deployment.apps))
    assert [named(deployment.identify(n, photos.eileen(variant=2))) for n in (0, 1)] == ["E1", "E1"]


def test_an_ask_of_a_model_that_is_not_held_fails_alone() -> None:
    def fail(numbers: list[int]) -> None:
        if 3 in numbers:
            raise ModelNotHeldError("gone/1")

    inference = BatchedInference(runner := FakeRunner(fail=fail))
    inference.submit(make_ask(number=1))
    running = runner.begun()
    asked = [inference.submit(make_ask(number=n)) for n in (2, 3, 4)]
    running.may_end.set()
    assert [runner.end_next() for _ in range(4)] == [[2, 3, 4], [2], [3], [4]]
    assert [int(each.result(WAIT_S).embed_s) for each in (asked[0], asked[2])] == [2, 4]
    assert isinstance(asked[1].exception(WAIT_S), ModelNotHeldError)
    inference.close()
