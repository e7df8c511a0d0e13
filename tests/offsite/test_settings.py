"""Settings: defaults, file, environment, command line, in this order; every fault at once, with its key and the fix."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from offsite.settings import Settings, SettingsFaults, load_settings, secret


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "offsite.toml"
    file.write_text(text, encoding="utf-8")
    return file


def faults(file: Path | None, given: dict | None = None, environment: dict | None = None) -> list[str]:
    with pytest.raises(SettingsFaults) as caught:
        load_settings(file, given or {}, environment or {})
    return caught.value.faults


def test_the_defaults_are_the_ports_of_the_handbook_on_loopback() -> None:
    found = load_settings(None, {}, {})
    assert found == Settings()
    assert (found.host, found.hj212_port, found.http_port, found.desk_port, found.tls_port) == ("127.0.0.1", 9212, 8212, 8213, -1)


def test_each_source_is_stronger_than_the_one_before(tmp_path: Path) -> None:
    file = written(tmp_path, 'hj212_port = 1001\nhttp_port = 1002\ndesk_port = 1003\ntitle = "文件"\n')
    environment = {"OFFSITE_HTTP_PORT": "2002", "OFFSITE_DESK_PORT": "2003", "OFFSITE_DATA": "/d"}
    found = load_settings(file, {"desk_port": 3003, "http_port": None}, environment)
    assert (found.hj212_port, found.http_port, found.desk_port, found.title, found.data) == (1001, 2002, 3003, "文件", Path("/d"))


def test_what_is_not_a_setting_is_left_alone_on_the_command_line_and_in_the_environment() -> None:
    assert load_settings(None, {"verb": "run", "json": True}, {"OFFSITE_UNKNOWN": "1", "HJ212_PORT": "9"}) == Settings()


def test_every_fault_is_told_at_once_with_its_key_and_the_fix(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        f'hj212_port = "many"\nhttp_port = 70000\ncolour = "red"\nregistry = "{tmp_path / "nowhere"}"\ntls_port = 0\n'
        '[sm4_keys]\nMN1 = "geheim"\nMN2 = "env:OFFSITE_NO_SUCH_KEY"\n',
    )
    found = faults(file)
    for start in (
        "hj212_port: 'many' is not a whole number; write it as one",
        "http_port: 70000 is no port; use 1 to 65535",
        "colour: unknown key; known are",
        f"registry: {tmp_path / 'nowhere'} does not exist",
        "tls_port: needs tls_cert and tls_key",
        "sm4_keys.MN1: 'geheim' names no secret: write env:NAME",
        "sm4_keys.MN2: 'env:OFFSITE_NO_SUCH_KEY' names no secret",
    ):
        assert any(fault.startswith(start) for fault in found), (start, found)
    assert len(found) == 7


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("host = 3", "host: 3 is not text in quotes; write it as one"),
        ("title = true", "title: True is not text in quotes"),
        ("hj212_port = true", "hj212_port: True is not a whole number"),
        ("hj212_port = 9212.5", "hj212_port: 9212.5 is not a whole number"),
        ("data = 3", "data: 3 is not a path; write it as one"),
        ('data = ""', "data: is empty; give the path of a directory, or leave the key out for offsite-data"),
        ("dialects = 3", "dialects: 3 is not a table"),
    ],
)
def test_a_value_of_another_kind_is_a_listed_fault(tmp_path: Path, line: str, wanted: str) -> None:
    [fault] = faults(written(tmp_path, line + "\n"))
    assert fault.startswith(wanted)


@pytest.mark.parametrize("port", ["-2", "65536", "x", ""])
def test_a_port_from_the_environment_is_checked_too(port: str) -> None:
    assert [f.split(":")[0] for f in faults(None, environment={"OFFSITE_DESK_PORT": port})] == ["desk_port"]


@pytest.mark.parametrize("port", [-1, 0, 1, 65_535])
def test_free_ports_and_left_out_services_are_ports(port: int) -> None:
    assert load_settings(None, {"hj212_port": port}, {}).hj212_port == port


def test_a_file_that_is_none_or_no_toml(tmp_path: Path) -> None:
    assert str(tmp_path / "none.toml") in faults(tmp_path / "none.toml")[0]
    assert "offsite.toml" in faults(written(tmp_path, "port = ["))[0]
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b'title = "\xff"\n')
    assert "bad.toml" in faults(bad)[0]


def test_tables_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSITE_TEST_KEY", "0123456789abcdef")
    found = load_settings(written(tmp_path, '[sm4_keys]\nMN1 = "env:OFFSITE_TEST_KEY"\n[dialects.MN2]\ncrc = "any"\n'), {}, {})
    assert found.sm4_keys == {"MN1": "env:OFFSITE_TEST_KEY"}
    assert found.dialects == {"MN2": {"crc": "any"}}


def test_secrets_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSITE_TEST_KEY", "geheim")
    (tmp_path / "key").write_bytes(b" geheim\n")
    assert secret("env:OFFSITE_TEST_KEY") == secret(f"file:{tmp_path / 'key'}") == b"geheim"
    for wrong in ("geheim", "env:", "file:/no/such/key", "http://key", ""):
        with pytest.raises(ValueError, match="names no secret"):
            secret(wrong)


def test_settings_cannot_be_changed_and_each_can_be_given_by_environment(tmp_path: Path) -> None:
    found = Settings()
    with pytest.raises(FrozenInstanceError):
        found.title = "x"  # type: ignore[misc]
    (tmp_path / "file").touch()
    scalars = {f.name: str(f.type) for f in fields(Settings) if f.name not in {"sm4_keys", "dialects"}}
    values = {"int": "7", "str": "x", "Path": str(tmp_path), "Path | None": str(tmp_path / "file")}
    given = load_settings(None, {}, {f"OFFSITE_{n.upper()}": values[kind] for n, kind in scalars.items()})
    assert all(str(getattr(given, name)) == values[kind] for name, kind in scalars.items())
