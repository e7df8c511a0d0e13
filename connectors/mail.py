"""One letter to one address by SMTP: a letter enters, the server's answer leaves, or the error that says what to do.

Messages follow RFC 5322: written by the standard library's e-mail package, texts as UTF-8 in base64 (no line is too long, no server
needs 8BITMIME), names without control characters, so that none can add a header. Submission follows RFC 5321 with STARTTLS
(RFC 3207) or TLS from the start (RFC 8314), and AUTH (RFC 4954). A server that offers no STARTTLS is never spoken to in clear instead.

A letter counts as taken once the server has answered 2xx to its end; what comes after that (QUIT) changes nothing. 4xx is tried again.
5xx to the recipient or the text is about this letter: Refused. 5xx before that is about us (login, sender, STARTTLS): the letter waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr

from connectors.core import Refused, Retry
from connectors.outputs import tls_of
from connectors.table import Table

PORTS = {"starttls": 587, "tls": 465, "none": 25}
"""Security → the usual port (RFC 6409, RFC 8314)."""
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
LONGEST = 120
"""Characters of an address: it is part of the queue's keys."""
OURS = 60.0
"""Seconds before a server that finds fault with our settings is asked again."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one address. `ident` makes the Message-ID: the same for the same content; `thread` groups letters about one thing."""

    to: str
    subject: str
    text: str
    html: str
    ident: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """Where and as whom letters are handed in. `name`, `sender`: From; `tls` is None for `security` none; `timeout` in s."""

    host: str
    port: int
    security: str
    name: str
    sender: str
    username: str = ""
    password: str = ""
    tls: ssl.SSLContext | None = None
    timeout: float = 30.0

    @property
    def domain(self) -> str:
        """Return the sender's domain: the right side of Message-IDs and the name we greet with."""
        return self.sender.rpartition("@")[2]


def line(text: str) -> str:
    r"""Return a text fit for a header: one line, without control characters and the invisible ones that change direction.

    >>> line("a\r\nBcc: b\u202e")
    'a Bcc: b'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def is_address(text: str) -> bool:
    """Tell whether a text is an address that every server takes: ASCII, no display name."""
    return len(text) <= LONGEST and ADDRESS.fullmatch(text) is not None and ".." not in text


def message_of(letter: Letter, account: Account, at: int) -> EmailMessage:
    """Write a letter as a message; `at` is its Date in ms UTC."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(line(account.name), addr_spec=account.sender)
    message["To"] = Address(addr_spec=letter.to)
    message["Subject"] = line(letter.subject)
    message["Date"] = datetime.fromtimestamp(at // 1000, UTC)
    message["Message-ID"] = f"<{letter.ident}@{account.domain}>"
    if letter.thread:
        message["References"] = f"<{letter.thread}@{account.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    message.set_content(letter.text, cte="base64")
    message.add_alternative(letter.html, subtype="html", cte="base64")
    return message


class Post:
    """Hands letters in, each on a connection of its own, in threads: a slow server holds up nobody else."""

    def __init__(self, account: Account, parallel: int) -> None:
        self.account = account
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix=f"mail {account.host}")

    async def send(self, letter: Letter, at: int) -> str:
        """Hand a letter in, dated `at` (ms UTC); return the server's answer. Raises Retry or Refused."""
        body = message_of(letter, self.account, at).as_bytes()
        sessions: list[smtplib.SMTP] = []
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, _hand_in, self.account, letter.to, body, sessions)
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(self.account.timeout):
                return await asyncio.shield(work)
        except TimeoutError:
            raise Retry(f"{self.account.host}: no answer in {self.account.timeout:g} s") from None
        finally:
            for one in () if work.done() else sessions:  # ends the thread's wait
                with contextlib.suppress(OSError, AttributeError):
                    one.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def close(self) -> None:
        """Wait for no letter under way: none was settled, so it is sent again."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _hand_in(account: Account, to: str, body: bytes, sessions: list[smtplib.SMTP]) -> str:
    """Hand one message in."""
    place = f"{account.host}:{account.port}"
    try:
        session = _session(account)
        sessions.append(session)
        try:
            _greet(session, account)
            _ours(place, *session.mail(account.sender))
            _theirs(f"recipient {to}", *session.rcpt(to))
            return _theirs("the text", *session.data(body))
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                session.quit()
    except smtplib.SMTPDataError as fault:  # the answer to DATA itself
        return _theirs("the text", fault.smtp_code, fault.smtp_error)
    except smtplib.SMTPResponseException as fault:  # connecting, greeting, STARTTLS, login
        return _ours(place, fault.smtp_code, fault.smtp_error)
    except smtplib.SMTPNotSupportedError as fault:
        raise Retry(f"{place}: {fault} Set `security` and `username` to what the server offers", OURS) from fault
    except (OSError, smtplib.SMTPException, ValueError) as fault:
        raise Retry(f"{place} is not reached: {fault!r}") from fault


def _session(account: Account) -> smtplib.SMTP:
    where = (account.host, account.port, account.domain)
    if account.security == "tls":
        return smtplib.SMTP_SSL(*where, timeout=account.timeout, context=account.tls)
    return smtplib.SMTP(*where, timeout=account.timeout)


def _greet(session: smtplib.SMTP, account: Account) -> None:
    session.ehlo_or_helo_if_needed()
    if account.security == "starttls":
        _ours(f"{account.host}:{account.port} STARTTLS", *session.starttls(context=account.tls))
        session.ehlo_or_helo_if_needed()
    if account.username:
        session.login(account.username, account.password)


def _said(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return line(f"{code} {words}")


def _ours(place: str, code: int, text: bytes | str) -> str:
    """Return an answer that is 2xx. Raises Retry: whatever else it is, no letter is to blame."""
    if 200 <= code < 300:
        return _said(code, text)
    raise Retry(f"{place}: {_said(code, text)}", OURS if code >= 500 else 1.0)


def _theirs(what: str, code: int, text: bytes | str) -> str:
    """Return an answer that is 2xx. Raises Refused for 5xx, Retry for the rest."""
    if code >= 500:
        raise Refused(f"{what}: {_said(code, text)}")
    if 200 <= code < 300:
        return _said(code, text)
    raise Retry(f"{what}: {_said(code, text)}")


def account_of(table: Table) -> Account:
    """Read the account of a table; its faults are noted there."""
    security = table.choice("security", tuple(PORTS), "starttls")
    name, sender = parseaddr(table.text("from"))
    if not is_address(sender):
        table.fault("from", f'{sender!r} is no address; write "offsite@example.com" or "Offsite <offsite@example.com>"')
    username, password = table.text("username", ""), table.secret("password").decode()
    if bool(username) != bool(table.text("password", "")):
        table.fault("password", "goes with `username`: give both, or neither")
    if username and security == "none":
        table.fault("security", "none would send the password in clear; use starttls or tls")
    return Account(
        table.text("host"),
        table.whole("port", PORTS[security], 1, 65535),
        security,
        name,
        sender,
        username,
        password,
        tls_of(table, wanted=security != "none"),
        table.number("timeout", 30, 0.1, 300),
    )
