"""Messages reach receivers that fail, are slow and answer twice: at least once, in order, signed."""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from threading import Event, Thread
from time import monotonic

import pytest
from sqlalchemy import select, update
from standardwebhooks import WebhookVerificationError

from app.db.engine import Database
from app.db.tables import AuditEntry, Webhook, WebhookDelivery
from app.db.types import utc_now
from app.sealing import Sealer
from app.webhooks import queries, service
from app.webhooks.pace import Pace
from app.webhooks.retention import DeliveryPurger
from tests.app.factories import make_principal
from tests.app.webhooks.conftest import QUICK, StartSender
from tests.app.webhooks.factories import deliveries, make_message, make_webhook, statuses
from tests.app.webhooks.receiver import Received, Receiver, running_receiver, wait_until

ADMIN = make_principal(scope="admin")


def numbers(received: list[Received]) -> list[int]:
    return [json.loads(each.body)["data"]["n"] for each in received]


def switch(database: Database, webhook: Webhook, *, active: bool) -> None:
    with database.write() as session:
        service.update(session, webhook.id, service.schemas.WebhookUpdate(active=active), ADMIN)


def is_active(database: Database, webhook: Webhook) -> bool:
    with database.read() as session:
        return session.get_one(Webhook, webhook.id).active


def wait_for_statuses(database: Database, *wanted: str) -> None:
    wait_until(lambda: statuses(database=database) == list(wanted), f"messages never became {wanted}")


def test_a_message_is_signed_and_says_what_happened_when(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    _, secret = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    start_sender()
    make_message(database=ledger, topic="day.changed", n=1)
    (received,) = receiver.wait(1)
    message = received.verified(secret)
    assert (message["type"], message["data"]) == ("day.changed", {"n": 1})
    assert message["timestamp"].endswith("Z")
    wait_for_statuses(ledger, "delivered")
    (delivery,) = deliveries(database=ledger)
    assert (delivery.n_attempts, delivery.last_status, delivery.last_error) == (1, 204, None)
    _, other = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    with pytest.raises(WebhookVerificationError):
        received.verified(other)


def test_a_message_goes_out_when_it_is_committed_and_not_at_the_next_look(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    start_sender(replace(QUICK, poll_s=3600))
    for n in range(100):  # each comes while the sender is about to find that there was no more
        make_message(database=ledger, n=n)
        receiver.wait(n + 1)
    assert numbers(receiver.all) == list(range(100))


def test_what_is_rolled_back_is_told_to_nobody(ledger: Database, sealer: Sealer) -> None:
    make_webhook(database=ledger, sealer=sealer, url="http://127.0.0.1:9/")
    with pytest.raises(ZeroDivisionError), ledger.write() as session:
        service.announce(session, "event.created", "per_1", {})
        raise ZeroDivisionError
    assert deliveries(database=ledger) == []


def test_only_active_webhooks_that_want_the_topic_are_told(ledger: Database, sealer: Sealer) -> None:
    url = "http://127.0.0.1:9/"
    wanting, _ = make_webhook(database=ledger, sealer=sealer, url=url, topics=["day.changed"])
    make_webhook(database=ledger, sealer=sealer, url=url, topics=["event.created"])
    silent, _ = make_webhook(database=ledger, sealer=sealer, url=url)
    switch(ledger, silent, active=False)
    make_message(database=ledger, topic="day.changed")
    assert [each.webhook_id for each in deliveries(database=ledger)] == [wanting.id]


def test_a_failing_receiver_is_told_again_under_the_same_id_and_nobody_is_overtaken(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    _, secret = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    bad = iter([500, None, 302, 429])
    receiver.answer = lambda _received: next(bad, 200)
    start_sender()
    for n in range(3):
        make_message(database=ledger, n=n)
    receiver.wait(7)
    assert numbers(receiver.all) == [0, 0, 0, 0, 0, 1, 2]
    assert len({each.id for each in receiver.all}) == 3
    assert len({each.body for each in receiver.all}) == 3
    assert all(each.verified(secret) for each in receiver.all)
    wait_for_statuses(ledger, "delivered", "delivered", "delivered")
    assert deliveries(database=ledger)[0].n_attempts == 5


def test_a_receiver_that_acts_and_then_answers_too_late_is_told_again(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    def answer(_received: Received) -> int:
        if len(receiver.all) == 1:
            receiver.wait_until(lambda: len(receiver.all) > 1)
        return 200

    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = answer
    start_sender(replace(QUICK, timeout_s=1.0))
    make_message(database=ledger, n=1)
    first, second = receiver.wait(2)[:2]
    assert (first.id, first.body) == (second.id, second.body)
    wait_for_statuses(ledger, "delivered")


def test_an_answer_that_never_ends_is_a_yes_once_its_status_is_there(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.body = b"x" * 1_000_000
    start_sender()
    make_message(database=ledger, n=1)
    wait_for_statuses(ledger, "delivered")
    assert len(receiver.all) == 1


def test_a_redirect_is_not_followed(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = lambda _received: 307
    start_sender(replace(QUICK, back_off_s=()))
    make_message(database=ledger, n=1)
    wait_for_statuses(ledger, "dead")
    (delivery,) = deliveries(database=ledger)
    assert (len(receiver.all), delivery.last_status) == (1, 307)
    assert "redirects are not followed" in str(delivery.last_error)


def test_after_the_last_attempt_a_message_is_dead_and_the_next_one_goes(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = lambda received: 400 if '"n":0' in received.body else 200
    start_sender(replace(QUICK, back_off_s=(0.01, 0.01)))
    make_message(database=ledger, n=0)
    make_message(database=ledger, n=1)
    wait_for_statuses(ledger, "dead", "delivered")
    assert numbers(receiver.all) == [0, 0, 0, 1]
    assert deliveries(database=ledger)[0].last_error == "HTTP 400"


def test_a_refused_message_keeps_only_its_own_person_waiting(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = lambda received: 400 if '"n":0' in received.body else 200
    start_sender(replace(QUICK, back_off_s=(3600,)))
    make_message(database=ledger, person_id="per_1", n=0)
    make_message(database=ledger, person_id="per_1", n=1)
    make_message(database=ledger, person_id="per_2", n=2)
    make_message(database=ledger, person_id=None, n=0)
    make_message(database=ledger, person_id=None, n=3)
    wait_for_statuses(ledger, "pending", "pending", "delivered", "pending", "delivered")
    assert sorted(numbers(receiver.wait(4))) == [0, 0, 2, 3]


def test_a_dead_address_and_a_slow_one_hold_up_no_other(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    with running_receiver() as slow:
        slow.answer = lambda _received: slow.wait_for_end()
        for url in ("http://127.0.0.1:9/", slow.url, receiver.url):
            make_webhook(database=ledger, sealer=sealer, url=url)
        start_sender(replace(QUICK, timeout_s=60.0, back_off_s=(3600,)))
        for n in range(20):
            make_message(database=ledger, person_id=f"per_{n}", n=n)
        assert sorted(numbers(receiver.wait(20))) == list(range(20))


def test_an_address_in_trouble_is_tried_with_one_message_at_a_time(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = lambda _received: 503
    for n in range(30):
        make_message(database=ledger, person_id=f"per_{n}", n=n)
    start_sender(replace(QUICK, back_off_s=(3600,), longest_rest_s=3600, n_at_once=4))
    wait_until(lambda: any(each.last_status for each in deliveries(database=ledger)), "nothing was tried")
    assert len(receiver.all) <= 4


def test_an_address_that_is_gone_is_told_no_more(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = lambda _received: 410
    for n in range(20):
        make_message(database=ledger, person_id=f"per_{n % 10}", n=n)
    sender = start_sender(replace(QUICK, n_at_once=2))
    wait_until(lambda: not is_active(ledger, webhook), "the address was not switched off")
    with running_receiver() as other:
        make_webhook(database=ledger, sealer=sealer, url=other.url)
        for n in range(20, 40):
            make_message(database=ledger, n=n)
        assert numbers(other.wait(20)) == list(range(20, 40))  # the sender goes on with others
        sender.stop()
    n_told, of_gone = len(receiver.all), [each.status for each in deliveries(database=ledger)[:20]]
    assert n_told <= 2 and sorted(of_gone) == ["dead"] * n_told + ["pending"] * (20 - n_told)
    assert len(deliveries(database=ledger)) == 40
    with ledger.read() as session:
        stored = session.get_one(Webhook, webhook.id)
        audit = session.scalars(select(AuditEntry).where(AuditEntry.action == "webhook.deactivated")).one()
    assert (stored.active, audit.target, audit.actor) == (False, webhook.id, "webhooks")


def test_an_address_that_is_switched_off_in_the_middle_is_told_no_more(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)

    def answer(_received: Received) -> int:
        if len(receiver.all) == 3:
            switch(ledger, webhook, active=False)
        return 200

    receiver.answer = answer
    for n in range(20):
        make_message(database=ledger, n=n, person_id=f"per_{n % 10}")
    sender = start_sender(replace(QUICK, n_at_once=1))
    wait_until(lambda: statuses(database=ledger).count("delivered") == 3, "three were not delivered")
    make_webhook(database=ledger, sealer=sealer, url=f"{receiver.url}/other")  # and the sender goes on with others
    make_message(database=ledger, n=20)
    wait_until(lambda: statuses(database=ledger).count("delivered") == 4, "the other address was not told")
    sender.stop()
    assert sorted(numbers(receiver.all))[-1] == 20 and len(receiver.all) == 4


def test_a_new_address_and_a_new_secret_count_from_the_next_message_on(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    secrets = []
    with running_receiver() as moved:

        def answer(_received: Received) -> int:
            with ledger.write() as session:
                service.update(session, webhook.id, service.schemas.WebhookUpdate(url=moved.url), ADMIN)
                secrets.append(service.rotate_secret(session, webhook.id, ADMIN, sealer)[1])
            return 410  # of where it was: where it is now is told on

        receiver.answer = answer
        for n in range(5):
            make_message(database=ledger, n=n)
        start_sender()
        assert numbers(moved.wait(4)) == [1, 2, 3, 4]
        assert all(each.verified(secrets[0]) for each in moved.all)
    assert numbers(receiver.all) == [0] and is_active(ledger, webhook)


def test_what_waits_for_a_switched_off_address_is_sent_when_it_is_switched_on(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    make_message(database=ledger, n=0)
    switch(ledger, webhook, active=False)
    start_sender(replace(QUICK, poll_s=3600))
    switch(ledger, webhook, active=True)
    assert numbers(receiver.wait(1)) == [0]


def test_an_erased_person_is_told_about_no_more(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    make_message(database=ledger, person_id="per_1", n=0)
    make_message(database=ledger, person_id="per_2", n=1)
    with ledger.write() as session:
        service.forget_person(session, "per_1")
    start_sender()
    wait_for_statuses(ledger, "dead", "delivered")
    with ledger.write() as session:
        service.forget_person(session, "per_2")
    assert [each.payload for each in deliveries(database=ledger)] == [None, None]
    wanted = service.schemas.ReplayRequest(since=utc_now() - timedelta(days=1))
    assert service.replay_many(ledger, webhook.id, wanted, ADMIN) == 0
    assert numbers(receiver.all) == [1]


def test_a_message_without_content_is_given_up_and_its_address_kept(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    make_message(database=ledger, n=0)
    with ledger.write() as session:
        session.execute(update(WebhookDelivery).values(payload=None))
    start_sender()
    wait_for_statuses(ledger, "dead")
    with ledger.read() as session:
        assert session.get_one(Webhook, webhook.id).active
    assert receiver.all == []


def test_an_attempt_that_the_end_of_the_service_cuts_short_does_not_count(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = lambda _received: receiver.wait_for_end()
    make_message(database=ledger, n=0)
    sender = start_sender(replace(QUICK, timeout_s=60, lease_s=3600))
    receiver.wait(1)
    began_s = monotonic()
    sender.stop()
    assert monotonic() - began_s < 10
    (delivery,) = deliveries(database=ledger)
    assert (delivery.status, delivery.n_attempts) == ("pending", 0)
    receiver.answer = lambda _received: 200
    start_sender()
    wait_for_statuses(ledger, "delivered")


def test_the_claim_of_a_sender_that_died_ends_with_its_lease(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    make_message(database=ledger, n=0)
    make_message(database=ledger, n=1)
    with ledger.write() as session:
        (head,) = queries.due_heads(session, webhook.id, 10)
        assert queries.claim(session, head, timedelta(seconds=0.5)) is not None
    with ledger.write() as session:
        assert queries.due_heads(session, webhook.id, 10) == []
        assert queries.claim(session, head, timedelta(seconds=0.5)) is None
    start_sender()
    wait_for_statuses(ledger, "delivered", "delivered")
    assert numbers(receiver.all) == [0, 1]
    assert deliveries(database=ledger)[0].n_attempts == 2


def test_a_younger_message_cannot_be_claimed_before_an_older_one(ledger: Database, sealer: Sealer) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url="http://127.0.0.1:9/")
    for person_id in ("per_1", None):
        for _ in range(2):
            make_message(database=ledger, person_id=person_id)
    older, younger, *of_nobody = [
        queries.Head(each.id, webhook.id, each.person_id) for each in deliveries(database=ledger)
    ]
    with ledger.write() as session:
        assert queries.due_heads(session, webhook.id, 10) == [older, *of_nobody]
        assert queries.claim(session, younger, timedelta(seconds=60)) is None
        for head in (older, *of_nobody):
            assert queries.claim(session, head, timedelta(seconds=60)) is not None
        assert queries.claim(session, younger, timedelta(seconds=60)) is None
        assert queries.due_heads(session, webhook.id, 10) == []


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_two_senders_share_the_work_and_send_nothing_out_of_order_or_twice(
    ledger: Database,
    sealer: Sealer,
    receiver: Receiver,
    start_sender: StartSender,
    open_again: Callable[[], Database],
) -> None:
    n_people, n_each = 6, 15
    make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    pace = replace(QUICK, poll_s=0.02, back_off_s=(0.01,) * 20, longest_rest_s=0.01)
    receiver.answer = lambda _received: 400 if len(receiver.all) % 7 == 0 else 200
    for database in (ledger, open_again()):
        start_sender(pace, database)
    for n in range(n_each):
        for person in range(n_people):
            make_message(database=ledger, person_id=f"per_{person}", n=n, person=person)
    wait_until(lambda: set(statuses(database=ledger)) == {"delivered"}, "not everything was delivered")
    by_person = defaultdict(list)
    for each in receiver.all:
        data = json.loads(each.body)["data"]
        if by_person[data["person"]][-1:] != [data["n"]]:
            by_person[data["person"]].append(data["n"])
    assert by_person == {person: list(range(n_each)) for person in range(n_people)}
    n_attempts = sum(each.n_attempts for each in deliveries(database=ledger))
    assert n_attempts == len(receiver.all)


def test_a_capture_is_not_kept_waiting_by_any_receiver(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    receiver.answer = lambda _received: receiver.wait_for_end()
    start_sender(replace(QUICK, timeout_s=60.0))
    make_message(database=ledger, n=0)
    receiver.wait(1)
    began_s = monotonic()
    for n in range(1, 21):
        make_message(database=ledger, n=n)
    assert monotonic() - began_s < 5.0
    assert len(deliveries(database=ledger)) == 21


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_webhook_cannot_vanish_under_a_capture_that_tells_it(ledger: Database, sealer: Sealer) -> None:
    webhook, _ = make_webhook(database=ledger, sealer=sealer, url="http://127.0.0.1:9/")
    has_told, may_go_on = Event(), Event()

    def capture() -> None:
        with ledger.write() as session:
            queries.listeners(session, "event.created")
            has_told.set()
            may_go_on.wait(10)
            service.announce(session, "event.created", "per_1", {})

    capturing = Thread(target=capture)
    capturing.start()
    has_told.wait(10)
    deleting = Thread(target=lambda: service.delete(ledger, webhook.id, ADMIN))
    deleting.start()
    deleting.join(0.3)
    may_go_on.set()
    capturing.join(10)
    deleting.join(10)
    assert not capturing.is_alive() and not deleting.is_alive()
    with ledger.read() as session:
        assert session.get(Webhook, webhook.id) is None
    assert deliveries(database=ledger) == []


def test_a_secret_sealed_with_another_key_stops_only_its_own_address(
    ledger: Database, sealer: Sealer, receiver: Receiver, start_sender: StartSender
) -> None:
    lost, _ = make_webhook(database=ledger, sealer=Sealer(["another key, long gone"]), url=receiver.url)
    kept, _ = make_webhook(database=ledger, sealer=sealer, url=receiver.url)
    start_sender()
    make_message(database=ledger, n=0)
    wait_until(lambda: "delivered" in statuses(database=ledger), "nothing was delivered")
    assert {each.webhook_id: each.status for each in deliveries(database=ledger)} == {
        lost.id: "pending",
        kept.id: "delivered",
    }


def test_old_messages_are_purged_unless_they_are_pending(ledger: Database, sealer: Sealer) -> None:
    make_webhook(database=ledger, sealer=sealer, url="http://127.0.0.1:9/")
    for _ in range(4):
        make_message(database=ledger)
    pending, delivered, dead, young = deliveries(database=ledger)
    with ledger.write() as session:
        for row, status, age_days in ((pending, "pending", 9), (delivered, "delivered", 9), (dead, "dead", 9)):
            session.get_one(WebhookDelivery, row.id).status = status
            session.get_one(WebhookDelivery, row.id).created_at = utc_now() - timedelta(days=age_days)
        session.get_one(WebhookDelivery, young.id).status = "delivered"
    assert DeliveryPurger(ledger, retention_days=8).purge() == 2
    assert [each.id for each in deliveries(database=ledger)] == [pending.id, young.id]


def test_the_waits_grow_to_an_hour_and_last_about_a_day() -> None:
    pace = Pace(jitter=0.0)
    waits = [pace.wait_s(n) for n in range(1, 29)]
    assert waits[0] == 5 and waits[-2] == 3600 and waits[-1] is None
    assert 20 * 3600 < sum(wait for wait in waits if wait) < 26 * 3600
