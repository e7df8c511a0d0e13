"""Settings: defaults, file, environment, command line, in this order; every fault at once, with its key and the fix."""

from __future__ import annotations

import json
import socket
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from connectors.kafka import Cluster
from offsite.settings import Influx, Kafka, Settings, SettingsFaults, load_settings, secret


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
    scalars = {f.name: str(f.type) for f in fields(Settings) if str(f.type) in {"int", "str", "Path", "Path | None"}}
    assert {"desk_url", "archive", "metrics_port", "spool", "instance"} <= set(scalars)
    values = {"int": "7", "str": "x", "Path": str(tmp_path), "Path | None": str(tmp_path / "file")}
    values |= {"desk_url": "sqlite:///x", "desk_password": ""}
    given = load_settings(None, {}, {f"OFFSITE_{n.upper()}": values.get(n, values[kind]) for n, kind in scalars.items()})
    assert all(str(getattr(given, name)) == values.get(name, values[kind]) for name, kind in scalars.items())


def test_each_key_of_a_table_can_be_given_by_environment_which_is_stronger_than_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, '[kafka]\nbootstrap = "a:1"\nprefix = "city."\n[influx]\nurl = "http://a:8086"\nminute_days = 3\n')
    (tmp_path / "pem").touch()
    pem, reference = str(tmp_path / "pem"), f"file:{tmp_path / 'pem'}"
    kafka = {"bootstrap": "b:2", "security": "SASL_SSL", "ca": pem, "cert": pem, "key": pem, "mechanism": "PLAIN"}
    kafka |= {"username": "u", "password": reference, "prefix": "p."}
    influx = {"org": "o", "bucket": "b", "token": reference, "ca": pem, "realtime_days": "1", "hour_days": "2"}
    assert set(kafka) == {f.name for f in fields(Kafka)}
    assert {*influx, "url", "minute_days"} == {f.name for f in fields(Influx)}
    environment = {
        f"OFFSITE_{name}_{key}".upper(): v for name, table in (("kafka", kafka), ("influx", influx)) for key, v in table.items()
    }
    found = load_settings(file, {}, environment)
    assert found.kafka == Kafka(**kafka)
    assert found.influx == Influx("http://a:8086", "o", "b", reference, pem, 1, 3, 2)


def test_what_depends_on_other_settings_is_filled_in() -> None:
    found = load_settings(None, {"data": Path("/d")}, {})
    assert (found.spool, found.archive, found.instance) == (Path("/d/spool"), "/d/archive", socket.gethostname())
    given = load_settings(
        None, {"data": Path("/d")}, {"OFFSITE_SPOOL": "/s", "OFFSITE_ARCHIVE": "s3://b/p", "OFFSITE_INSTANCE": "w1"}
    )
    assert (given.spool, given.archive, given.instance) == (Path("/s"), "s3://b/p", "w1")


def test_the_cluster_has_its_password_resolved(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("geheim\n", encoding="utf-8")
    file = written(
        tmp_path,
        f'[kafka]\nbootstrap = "a:1, b:2"\nprefix = "c."\nsecurity = "SASL_SSL"\nusername = "u"\npassword = "file:{tmp_path}/pw"\n',
    )
    wanted = Cluster("a:1,b:2", "c.", "SASL_SSL", username="u", password="geheim")
    settings = load_settings(file, {}, {})
    assert settings.cluster() == wanted
    (tmp_path / "pw").unlink()
    with pytest.raises(SettingsFaults, match=r"kafka\.password: .* names no secret"):
        settings.cluster()
    with pytest.raises(SettingsFaults, match=r"kafka\.bootstrap: is empty; name some brokers"):
        Settings().cluster()


def test_the_desks_database_is_sqlite_unless_told_and_its_password_is_put_in(tmp_path: Path) -> None:
    assert Settings(data=Path("/d")).desk_database() == "sqlite:////d/desk.sqlite"
    assert Settings(desk_url="postgresql+psycopg://desk@db/offsite").desk_database() == "postgresql+psycopg://desk@db/offsite"
    (tmp_path / "pw").write_text("g@h/ei:m\n", encoding="utf-8")
    found = Settings(
        desk_url="postgresql+psycopg://desk@db:5433/offsite?sslmode=verify-full", desk_password=f"file:{tmp_path}/pw"
    )
    assert found.desk_database() == "postgresql+psycopg://desk:g%40h%2Fei%3Am@db:5433/offsite?sslmode=verify-full"
    (tmp_path / "pw").unlink()
    with pytest.raises(SettingsFaults, match=r"desk_password: .* names no secret"):
        found.desk_database()


def test_secrets_among_the_archives_options_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("geheim\n", encoding="utf-8")
    text = f'[archive_options]\nkey = "k"\nsecret = "file:{tmp_path}/s"\nuse_ssl = false\n'
    found = load_settings(written(tmp_path, text + 'client_kwargs = { endpoint_url = "http://s3:9000" }\n'), {}, {})
    wanted = {"key": "k", "secret": "geheim", "use_ssl": False, "client_kwargs": {"endpoint_url": "http://s3:9000"}}
    assert found.archive_storage() == wanted
    assert "geheim" not in repr(found)
    (tmp_path / "s").unlink()
    with pytest.raises(SettingsFaults, match=r"archive_options: .* names no secret"):
        found.archive_storage()


def test_inputs_and_outputs_keep_their_order_and_need_a_kind(tmp_path: Path) -> None:
    text = '[[inputs]]\nkind = "mqtt"\nport = 1\n[[inputs]]\nkind = "folder"\n[[outputs]]\nkind = "webhook"\n'
    found = load_settings(written(tmp_path, text), {}, {})
    assert found.inputs == ({"kind": "mqtt", "port": 1}, {"kind": "folder"})
    assert found.outputs == ({"kind": "webhook"},)
    wrong = faults(written(tmp_path, text + '[[outputs]]\nurl = "x"\n[[reference]]\nkind = ""\n'))
    assert wrong == [f'{key}.kind: is missing; say what it is, as kind = "…"' for key in ("outputs[1]", "reference[0]")]
    assert faults(written(tmp_path, "inputs = 3\n"))[0].startswith("inputs: 3 is not a list of tables")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("kafka = 3", "kafka: 3 is not a table; write it as one"),
        ("[kafka]\ncolour = 3", "kafka.colour: unknown key; known are bootstrap, ca"),
        ("[kafka]\nprefix = 3", "kafka.prefix: 3 is not text in quotes"),
        ('[kafka]\nbootstrap = "a:1,b"', "kafka.bootstrap: 'a:1,b' is no list of brokers; write host:port"),
        ('[kafka]\nprefix = "城"', "kafka.prefix: '城' can't begin a topic's name"),
        ('[kafka]\nsecurity = "TLS"', "kafka.security: 'TLS' is unknown; use PLAINTEXT, SSL"),
        ('[kafka]\nca = "/no/ca"', "kafka.ca: /no/ca does not exist"),
        (f'[kafka]\ncert = "{__file__}"', "kafka.cert: a client certificate needs both cert and key"),
        ('[kafka]\npassword = "geheim"', "kafka.password: 'geheim' names no secret: write env:NAME"),
        ('[influx]\nurl = "localhost:8086"\ntoken = "env:PATH"', "influx.url: 'localhost:8086' is no address"),
        ('[influx]\nurl = "http://a:1"', "influx.token: '' names no secret"),
        ("[influx]\nhour_days = -1", "influx.hour_days: -1 is no retention"),
        ('desk_url = "desk.sqlite"', "desk_url: 'desk.sqlite' is no address; write postgresql+psycopg://"),
        ('desk_url = "postgresql+psycopg://u:p@db/x"', "desk_url: holds a password; leave it out"),
        ("metrics_port = 70000", "metrics_port: 70000 is no port"),
        ('[archive_options]\nsecret = "env:OFFSITE_NO_SUCH_KEY"', "archive_options: 'env:OFFSITE_NO_SUCH_KEY' names no secret"),
    ],
)
def test_a_fault_of_a_table_names_its_key_and_the_fix(tmp_path: Path, text: str, wanted: str) -> None:
    for fault in (found := faults(written(tmp_path, text + "\n"))):
        assert fault.startswith(wanted), json.dumps(found)
    assert len(found) == 1


def test_a_password_needs_somebody_to_go_with(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("geheim", encoding="utf-8")
    text = f'desk_url = "sqlite:///x"\ndesk_password = "file:{tmp_path}/pw"\n[kafka]\nsecurity = "SASL_SSL"\npassword = "file:{tmp_path}/pw"\n'
    found = faults(written(tmp_path, text))
    assert [fault.split(":")[0] for fault in found] == ["kafka.username", "desk_password"]
    text = '[kafka]\nsecurity = "SASL_PLAINTEXT"\nmechanism = "MD5"\nusername = "u"\npassword = "env:PATH"\n'
    assert faults(written(tmp_path, text))[0].startswith("kafka.mechanism: 'MD5' is unknown; use SCRAM-SHA-512")
