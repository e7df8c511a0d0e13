"""Which devices are connected, as a desk hears it of several gateways."""

from __future__ import annotations

import orjson
import pytest

from cases.clocks import format_time
from offsite.presence import SILENT_S, Presence

NOW = 1_795_399_260_000


class Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


def word(gateway: str, at: int, **devices: int) -> bytes:
    told = {mn: format_time(seen) for mn, seen in devices.items()}
    return orjson.dumps({"gateway": gateway, "at": format_time(at), "devices": told})


def test_nothing_is_known_before_a_gateway_is_heard_and_after_all_have_fallen_silent() -> None:
    clock = Clock()
    presence = Presence(clock)
    assert presence.online("A") is None
    presence.heard(word("g1", NOW, A=NOW - 5000))
    assert (presence.online("A"), presence.online("B")) == (True, False)
    clock.now = NOW + int(SILENT_S * 1000)
    assert presence.online("A") is None
    assert presence.last_seen("A") == format_time(NOW - 5000), "that it was heard stays true"
    assert presence.devices() == set()


def test_a_device_that_moved_is_connected_whatever_its_former_gateway_says_next() -> None:
    presence = Presence(Clock())
    presence.heard(word("g1", NOW, A=NOW - 5000))
    presence.heard(word("g2", NOW, A=NOW - 1000))
    presence.heard(word("g1", NOW))
    assert presence.online("A")
    assert presence.last_seen("A") == format_time(NOW - 1000)
    presence.heard(word("g2", NOW))
    assert presence.online("A") is False


@pytest.mark.parametrize(
    "body", [b"\xff", b"[]", b"{}", b'{"gateway":"g","at":"never","devices":{}}', b'{"gateway":"g","at":null,"devices":3}']
)
def test_what_is_no_presence_changes_nothing(body: bytes) -> None:
    presence = Presence(Clock())
    presence.heard(body)
    assert presence.online("A") is None
