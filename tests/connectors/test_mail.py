"""Handing a letter in: what reaches a real server, over TLS with a login, and what its answers come to."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.core import Refused, Retry
from connectors.mail import Account, Letter, Post, account_of, is_address, line, message_of
from connectors.table import Table
from tests.real.smtp import PASSWORD, USER, SmtpServer

AT = 1_795_449_600_000
LETTER = Letter("duty@example.com", "【Ⅱ级 橙】示例厂：超标", "超标\n.\n..\n完", "<p>超标</p>", "alert.d8.3", "alert.d8")


def account(server: SmtpServer, security: str = "none", **more: Any) -> Account:
    return Account("localhost", server.port, security, "Offsite 值班", "offsite@example.com", **more)


def send(made: Account, letter: Letter = LETTER) -> str:
    async def scenario() -> str:
        post = Post(made, 1)
        try:
            return await post.send(letter, AT)
        finally:
            post.close()

    return asyncio.run(scenario())


def test_a_letter_arrives_whole(smtp: SmtpServer) -> None:
    assert send(account(smtp)) == "250 2.0.0 queued as 17"
    (taken,) = smtp.letters
    message = taken.message
    assert (taken.sender, taken.to) == ("offsite@example.com", "duty@example.com")
    assert message["From"] == "Offsite 值班 <offsite@example.com>"
    assert message["To"] == "duty@example.com"
    assert message["Subject"] == LETTER.subject
    assert message["Message-ID"] == "<alert.d8.3@example.com>"
    assert message["References"] == "<alert.d8@example.com>"
    assert message["Date"].datetime.timestamp() * 1000 == AT
    assert message["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert taken.part("plain").splitlines() == ["超标", ".", "..", "完"]
    assert taken.part("html").strip() == "<p>超标</p>"


@pytest.mark.servers
@pytest.mark.parametrize(("security", "at_once"), [("starttls", False), ("tls", True)])
def test_tls_and_login(certs: Any, security: str, at_once: bool) -> None:
    server = SmtpServer(certs, at_once=at_once)
    trust, other = (ssl.create_default_context(cafile=ca) for ca in (certs.ca, certs.other_ca))
    try:
        send(account(server, security, tls=trust, username=USER, password=PASSWORD))
        assert [(taken.tls, taken.user) for taken in server.letters] == [(True, USER)]
        with pytest.raises(Retry, match="535") as wrong:
            send(account(server, security, tls=trust, username=USER, password="x"))
        assert wrong.value.after >= 60
        with pytest.raises(Retry, match="certificate"):
            send(account(server, security, tls=other, username=USER, password=PASSWORD))
        assert len(server.letters) == 1
    finally:
        server.stop()


def test_a_server_without_starttls_is_not_spoken_to_in_clear(smtp: SmtpServer) -> None:
    said = []
    smtp.answer = lambda verb, argument: said.append(verb)
    with pytest.raises(Retry, match="STARTTLS"):
        send(account(smtp, "starttls", tls=ssl.create_default_context()))
    assert set(said) <= {"CONNECT", "EHLO", "QUIT"}


@pytest.mark.parametrize(
    ("verb", "reply", "wanted"),
    [
        ("CONNECT", "421 busy", Retry),
        ("CONNECT", "554 not for you", Retry),
        ("MAIL", "451 later", Retry),
        ("MAIL", "553 not your address", Retry),
        ("RCPT", "450 greylisted", Retry),
        ("RCPT", "550 no such user", Refused),
        ("DATA", "452 disk full", Retry),
        ("DATA", "554 no", Refused),
        (".", "451 later", Retry),
        (".", "552 too large", Refused),
        ("MAIL", "hang up", Retry),
    ],
)
def test_what_answers_come_to(smtp: SmtpServer, verb: str, reply: str, wanted: type[Exception]) -> None:
    smtp.answer = lambda said, argument: reply if said == verb else None
    with pytest.raises(wanted) as found:
        send(account(smtp))
    assert type(found.value) is wanted
    if reply != "hang up":
        assert reply in str(found.value)
    assert smtp.letters == []


def test_what_follows_the_servers_yes_changes_nothing(smtp: SmtpServer) -> None:
    smtp.answer = lambda verb, argument: "hang up" if verb == "QUIT" else None
    assert send(account(smtp)).startswith("250")


def test_nobody_there_and_nobody_answering(smtp: SmtpServer) -> None:
    smtp.answer = lambda verb, argument: "" if verb == "MAIL" else None
    with pytest.raises(Retry, match=r"no answer in 0.3 s|timed out"):
        send(account(smtp, timeout=0.3))
    smtp.stop()
    with pytest.raises(Retry, match="not reached"):
        send(account(smtp))
    smtp.start()
    assert smtp.letters == []


@given(st.text(max_size=200), st.text(max_size=60))
def test_no_text_adds_a_header(subject: str, name: str) -> None:
    subject, name = (text.encode("utf-8", "ignore").decode() for text in (subject, name))
    letter = Letter("duty@example.com", subject, subject, subject, "a.b.1", "a.b")
    made = message_of(letter, Account("h", 25, "none", name, "offsite@example.com"), AT)
    raw = made.as_bytes()
    head = raw.partition(b"\r\n\r\n")[0]
    names = [row.partition(b":")[0].lower() for row in head.split(b"\r\n") if not row.startswith((b" ", b"\t"))]
    assert sorted(names) == sorted(b"from to subject date message-id references auto-submitted content-type mime-version".split())
    assert all(len(row) <= 998 for row in raw.split(b"\r\n"))
    raw.decode("ascii")
    assert made["To"] == "duty@example.com"


@pytest.mark.parametrize("text", ["Bcc: a@b\r\nX: y", "a\r\n\r\nbody", "a\x00b\u2028c\u202ed\x85e", "\n"])
def test_names_stay_on_one_line(text: str) -> None:
    assert not set(line(text)) & set("\r\n\x00\u2028\u202e\x85")


@pytest.mark.parametrize("text", ["a", "a@", "@b", "a b@c", "a@b\n", "a@b>", "值班@b", "a..b@c", "a@b" * 60, "A <a@b>"])
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)
    assert is_address("a.b+c@mail.example.com")


def test_every_fault_of_an_account_is_named() -> None:
    table = Table({"from": "nobody", "username": "u", "security": "none", "port": 0}, "o", lambda reference: b"s")
    account_of(table)
    assert sorted(fault.split(":")[0] for fault in table.faults) == ["o.from", "o.host", "o.password", "o.port", "o.security"]
    good = Table(
        {"from": "Offsite 值班 <o@x.cn>", "host": "h", "username": "u", "password": "env:P"}, "o", lambda reference: b"s"
    )
    made = account_of(good)
    assert (good.faults, made.port, made.name, made.sender, made.password) == ([], 587, "Offsite 值班", "o@x.cn", "s")
