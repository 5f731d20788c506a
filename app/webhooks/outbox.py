"""The sender's view of the database: what is to be sent where, and how it went."""

from datetime import timedelta
from typing import Any

import structlog

from app.audit.service import record
from app.db.clock import shared_now
from app.db.engine import Database
from app.db.tables import Webhook
from app.sealing import SealBrokenError, Sealer
from app.webhooks import queries
from app.webhooks.delivery import Outcome, Target
from app.webhooks.pace import Pace
from app.webhooks.service import target_of

# Who a deactivation is ascribed to.
_ACTOR = "webhooks"

log = structlog.get_logger(__name__)


class Outbox:
    """Short transactions, each by itself; safe to share between threads."""

    def __init__(self, database: Database, sealer: Sealer, pace: Pace) -> None:
        self._database = database
        self._sealer = sealer
        self._pace = pace
        self._unreadable: set[str] = set()

    def webhook_ids(self) -> list[str]:
        """Every active address; one whose secret cannot be opened is told of once, and left out."""
        with self._database.read() as session:
            webhooks = queries.active_webhooks(session)
        return [webhook.id for webhook in webhooks if self._is_readable(webhook)]

    def due(self, webhook_id: str, at_most: int) -> list[queries.Head]:
        with self._database.read() as session:
            return queries.due_heads(session, webhook_id, at_most)

    def claim(self, head: queries.Head) -> tuple[queries.Claim, Target] | None:
        """A message that is ours to send, and where to, as of now."""
        with self._database.write() as session:
            claimed = queries.claim(session, head, timedelta(seconds=self._pace.lease_s))
            return None if claimed is None else (claimed, target_of(claimed.webhook, self._sealer))

    def finish(self, claimed: queries.Claim, outcome: Outcome) -> None:
        """Write down how an attempt went, and what follows from it."""
        with self._database.write() as session:
            now, wait_s = shared_now(session), self._pace.wait_s(claimed.n_attempts)
            columns: dict[str, Any] = {"last_status": outcome.status, "last_error": outcome.error}
            if outcome.is_delivered:
                columns |= {"status": "delivered", "delivered_at": now}
            elif outcome.is_final or wait_s is None:
                columns |= {"status": "dead"}
                log.warning("webhooks.dead_letter", webhook_id=claimed.webhook.id, delivery_id=claimed.delivery_id)
            else:
                columns |= {"due_at": now + timedelta(seconds=wait_s)}
            queries.finish(session, claimed, columns)
            if outcome.is_gone and queries.deactivate(session, claimed.webhook.id, claimed.webhook.url):
                record(session, _ACTOR, "webhook.deactivated", claimed.webhook.id, {"status": outcome.status})

    def give_back(self, claimed: queries.Claim) -> None:
        """The service is ending in the middle of an attempt: that one does not count, and the next need not wait."""
        with self._database.write() as session:
            columns = {"n_attempts": claimed.n_attempts - 1, "due_at": shared_now(session)}
            queries.finish(session, claimed, columns)

    def _is_readable(self, webhook: Webhook) -> bool:
        try:
            target_of(webhook, self._sealer)
        except SealBrokenError:
            if webhook.id not in self._unreadable:
                log.error("webhooks.secret_unreadable", webhook_id=webhook.id)
            self._unreadable.add(webhook.id)
            return False
        return True
