"""The output of kind `mail`: entries of the durable queue enter, letters leave, one lane of the queue for each person.

Rules (`cases/notify.py`) say who is told what and when, `cases/mail_words.py` how it reads, `connectors/mail.py` hands it in. An event
that several persons are told is an entry for each, so a full mailbox delays nobody else, and the books count letters' events.
How many letters a person was sent lately is kept in memory: after a restart the count begins anew.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cases import notify
from cases.mail_words import Card, Event, words
from connectors.core import Clock, ConnectorError, Retry
from connectors.mail import Letter, Post, account_of, is_address
from connectors.outbound_entries import Item
from connectors.outputs import KINDS, Common, Delivery, among
from connectors.table import Secret, Table

DEFAULTS = Common(backoff=(1.0, 600.0))


def no_card(_site: str) -> Mapping[str, Any]:
    """Know nothing of any site: letters show its id, and rules see no district."""
    return {}


class Mail:
    """Letters of one account. `batch`: events that one letter tells at most."""

    takes = "events"
    batch = 200
    live_ms: int | None = None

    def __init__(
        self, common: Common, post: Post, policy: notify.Policy, clock: Clock, *, card: Card, desk: str, parallel: int
    ) -> None:
        self.common, self.parallel = common, parallel
        self._post, self._policy, self._clock, self._card, self._desk = post, policy, clock, card, desk
        self._sent: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=policy.most))

    def wants(self, kind: str, key: str, body: bytes) -> tuple[str, ...] | None:
        """Return the lanes of the persons who are to be told of an event of site `key`."""
        if not among(key, self.common.sites):
            return None
        district = str(self._card(key).get("district") or "")
        return notify.lanes(self._policy, kind, key, district, orjson.loads(body)) or None

    async def deliver(self, items: Sequence[Item]) -> Delivery:
        """Send one letter with the first events of a lane, or hold them."""
        lane, now = items[0].key, self._clock()
        step = notify.step(self._policy, lane, now, [item.at for item in items], self._sent[lane])
        if not step.tell:
            return Delivery(fault=Retry(step.why, (step.until - now) / 1000))
        try:
            answer = await self._post.send(self._letter(lane, items[: step.tell], step), now)
        except ConnectorError as fault:
            return Delivery(fault=fault)
        self._sent[lane].append(now)
        return Delivery([answer] * step.tell)

    def _letter(self, lane: str, items: Sequence[Item], step: notify.Step) -> Letter:
        bodies = [orjson.loads(item.body) for item in items]
        events = [Event(item.kind, str(body.get("site") or ""), body) for item, body in zip(items, bodies, strict=True)]
        said = words(events, self._card, self._desk, (step.why_zh, step.why))
        return Letter(notify.address_of(lane), said.subject, said.text, said.html, said.ident, said.thread)

    async def close(self) -> None:
        """Let go of the threads."""
        self._post.close()


def from_table(card: Card, table: Table, common: Common, _secret: Secret, clock: Clock) -> Mail:
    """Make the letters of a table. Raises TableFaults."""
    account, policy = account_of(table), _policy(table)
    desk, parallel = table.text("desk", ""), table.whole("parallel", 4, 1, 64)
    if desk and not desk.startswith(("https://", "http://")):
        table.fault("desk", f"{desk!r} is no address; write where browsers find the desk, https://…")
    table.done()
    return Mail(common, Post(account, parallel), policy, clock, card=card, desk=desk, parallel=parallel)


def _policy(table: Table) -> notify.Policy:
    quiet = table.text("quiet", "")
    try:
        hours = notify.quiet_hours(quiet)
    except ValueError:
        table.fault("quiet", f'{quiet!r} is no span of a day; write "22:00-07:00"')
        hours = None
    rules = table.tables("rules")
    if not rules:
        table.fault("rules", "nobody is told anything; add a table [outputs.rules.NAME] with `to`")
    urgent, most = table.whole("urgent", 1, 0, 4), table.whole("most", 20, 1, 1000)
    minutes = table.whole("per_minutes", 10, 1, 1440)
    return notify.Policy(tuple(map(_rule, rules.values())), hours, urgent, most, minutes * notify.MINUTE)


def _rule(table: Table) -> notify.Rule:
    to, send = table.texts("to"), table.texts("send", KINDS)
    for address in to:
        if not is_address(address):
            table.fault("to", f"{address!r} is no address; write duty@example.com")
    if strange := set(send) - set(KINDS):
        table.fault("send", f"{', '.join(sorted(strange))} is never sent; use some of {', '.join(KINDS)}")
    level, sites = table.whole("level", 4, 1, 4), table.texts("sites", notify.ALL)
    return notify.Rule(to, send, level, sites, table.texts("districts", notify.ALL), table.flag("ends", default=True))
