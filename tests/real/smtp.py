"""A mail server that keeps what it takes: RFC 5321 with STARTTLS, TLS and AUTH PLAIN; it answers as told, and can go away and come back.

Written here because a whole MTA tells a test less: this one lets a test fail any command, and refuses what RFC 5321 forbids.
"""

from __future__ import annotations

import base64
import email.policy
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import pytest

USER, PASSWORD = "offsite", "correct horse"
LONGEST_LINE = 1000


@dataclass(frozen=True)
class Taken:
    """A message that was taken, as it came, and how."""

    sender: str
    to: str
    raw: bytes
    tls: bool
    user: str

    @property
    def message(self) -> EmailMessage:
        """Parse it."""
        found = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found

    def part(self, kind: str) -> str:
        """Return a part's text: plain or html."""
        found = self.message.get_body((kind,))
        assert found is not None
        return str(found.get_content())


class SmtpServer:
    """A server on a free port of 127.0.0.1. `answer(verb, argument)` may give another reply to a command, "" none; `.` is the end of a text.

    `certs` are offered by STARTTLS, or used from the start with `at_once`; login is then asked for.
    """

    def __init__(self, certs: Any = None, *, at_once: bool = False) -> None:
        self.letters: list[Taken] = []
        self.answer: Callable[[str, str], str | None] = lambda verb, argument: None
        self.sessions = 0
        self.at_once = at_once
        self.tls: ssl.SSLContext | None = None
        if certs is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certs.server_cert, certs.server_key)
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, on the port of before."""
        own = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                own.sessions += 1
                with suppress(OSError, EOFError):  # a client that was killed is no fault
                    Session(own, self.request).serve()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        """Go away."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Session:
    """One connection."""

    def __init__(self, server: SmtpServer, link: socket.socket) -> None:
        self.server, self.user, self.sender, self.to = server, "", "", ""
        self.secure = server.tls is not None and server.at_once
        self.link = server.tls.wrap_socket(link, server_side=True) if server.tls and server.at_once else link
        self.file = self.link.makefile("rb")

    def serve(self) -> None:
        self.say(self.server.answer("CONNECT", "") or "220 mail.test ready")
        while True:
            verb, _, argument = self.line().decode("ascii").partition(" ")
            told = self.server.answer(verb.upper(), argument)
            if told == "hang up":
                break
            self.say(getattr(self, f"do_{verb.lower()}", self.do_unknown)(argument) if told is None else told)
            if verb.upper() == "QUIT":
                break
            if verb.upper() == "STARTTLS" and told is None:
                self.upgrade()
        self.file.close()
        self.link.close()

    def line(self) -> bytes:
        found = self.file.readline(LONGEST_LINE + 1)
        if not found:
            raise EOFError
        assert found.endswith(b"\r\n"), "RFC 5321 2.3.8 and 4.5.3.1.6: CR LF, and at most 1000 octets"
        return found[:-2]

    def say(self, text: str) -> None:
        if text:
            self.link.sendall(text.encode() + b"\r\n")

    def upgrade(self) -> None:
        assert self.server.tls is not None
        self.file.close()
        self.link, self.secure = self.server.tls.wrap_socket(self.link, server_side=True), True
        self.file = self.link.makefile("rb")

    def do_ehlo(self, _name: str) -> str:
        offers = ["AUTH PLAIN"] if self.secure else ["STARTTLS"] if self.server.tls else []
        return "\r\n".join([*(f"250-{offer}" for offer in ("mail.test", *offers)), "250 SIZE 10000000"])

    def do_starttls(self, _argument: str) -> str:
        return "220 go ahead"

    def do_auth(self, argument: str) -> str:
        given = base64.b64decode(argument.removeprefix("PLAIN ")).decode().split("\0")
        if given[1:] != [USER, PASSWORD]:
            return "535 5.7.8 wrong name or password"
        self.user = given[1]
        return "235 2.7.0 welcome"

    def do_mail(self, argument: str) -> str:
        self.sender, self.to = argument.partition("<")[2].partition(">")[0], ""
        return "530 5.7.0 log in first" if self.server.tls and not self.user else "250 2.1.0 ok"

    def do_rcpt(self, argument: str) -> str:
        self.to = argument.partition("<")[2].partition(">")[0]
        return "250 2.1.5 ok"

    def do_data(self, _argument: str) -> str:
        self.say("354 go on")
        lines = []
        while (found := self.line()) != b".":
            found.decode("ascii")  # no 8BITMIME was offered
            lines.append(found.removeprefix(b"."))
        self.server.letters.append(Taken(self.sender, self.to, b"\r\n".join([*lines, b""]), self.secure, self.user))
        told = self.server.answer(".", self.to)
        if told is not None and told.startswith(("4", "5")):
            self.server.letters.pop()
        return "250 2.0.0 queued as 17" if told is None else told

    def do_rset(self, _argument: str) -> str:
        return "250 ok"

    def do_quit(self, _argument: str) -> str:
        return "221 bye"

    def do_unknown(self, _argument: str) -> str:
        return "502 not here"


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    """Give a server that speaks in clear and knows everybody."""
    made = SmtpServer()
    yield made
    made.stop()
