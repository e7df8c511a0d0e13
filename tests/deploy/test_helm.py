"""deploy/helm/offsite, linted and rendered by the real Helm: what a cluster would be given."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from offsite.cli import parse
from offsite.settings import Settings, SettingsFaults, load_settings
from tests.conftest import ROOT, need

pytestmark = pytest.mark.servers
CHART = ROOT / "deploy" / "helm" / "offsite"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
PODS = {"StatefulSet", "Deployment", "Job"}
MADE = {
    "minimal": {
        "StatefulSet": 2,
        "Deployment": 2,
        "Job": 2,
        "PodDisruptionBudget": 3,
        "NetworkPolicy": 2,
        "ConfigMap": 2,
        "Service": 2,
    },
    "small": {"StatefulSet": 2, "Deployment": 2, "Job": 1, "ConfigMap": 2, "Service": 2},
    "everything": {
        "StatefulSet": 2,
        "Deployment": 2,
        "Job": 2,
        "PodDisruptionBudget": 3,
        "NetworkPolicy": 2,
        "ConfigMap": 2,
        "Service": 2,
        "ServiceMonitor": 1,
    },
}
"""Values → kind → how many objects there are."""


@pytest.fixture(scope="module")
def helm() -> str:
    """Give Helm: $OFFSITE_HELM, one on the path, one that was built; in CI it is built now."""
    need(find_spec("yaml"), "PyYAML")
    built = ROOT / "build" / "helm" / "helm"
    for place in (os.environ.get("OFFSITE_HELM"), str(built), shutil.which("helm")):
        if place and Path(place).is_file():
            return place
    if os.environ.get("CI") and shutil.which("go"):
        subprocess.run([ROOT / "deploy" / "helm" / "build-helm.sh", built.parent], check=True, timeout=580)
    need(built.is_file(), "Helm (deploy/helm/build-helm.sh builds it)")
    return str(built)


def rendered(helm: str, *more: str | Path) -> subprocess.CompletedProcess[str]:
    words = [helm, "template", "city", CHART, "--namespace", "offsite", "--kube-version", "1.30.0", *more]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=VALUES, ids=lambda file: file.stem)
def values(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def objects(helm: str, values: Path) -> list[dict[str, Any]]:
    import yaml

    done = rendered(helm, "--values", values)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def given(values: Path) -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load(values.read_text(encoding="utf-8")))


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Yield (object, pod, its container)."""
    for one in objects:
        if one["kind"] in PODS:
            pod = one["spec"]["template"]["spec"]
            [container] = pod["containers"]
            yield one, pod, container


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    else:
        yield str(node)


def test_the_chart_passes_strict_lint(helm: str, values: Path) -> None:
    words = [helm, "lint", "--strict", "--kube-version", "1.30.0", "--values", values, CHART]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_objects_are_those_that_were_asked_for(objects: list[dict[str, Any]], values: Path) -> None:
    found: dict[str, int] = {}
    for one in objects:
        found[one["kind"]] = found.get(one["kind"], 0) + 1
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "city"
    assert found == MADE[values.stem]
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))


def test_every_process_has_probes_and_resources(objects: list[dict[str, Any]]) -> None:
    for one, _, container in pods(objects):
        assert {"requests", "limits"} <= set(container["resources"]), one["metadata"]["name"]
        if one["kind"] == "Job":
            continue
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked == {"path": "/readyz" if probe == "readinessProbe" else "/healthz", "port": "metrics"}
        [port] = [port["containerPort"] for port in container["ports"] if port["name"] == "metrics"]
        assert {"name": "OFFSITE_METRICS_PORT", "value": str(port)} in container["env"]


def test_every_pod_is_without_rights(objects: list[dict[str, Any]]) -> None:
    for one, pod, container in pods(objects):
        name = one["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert re.search(r"(:\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$", container["image"]), name
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
        assert mounted == {volume["name"] for volume in pod["volumes"]} | claims, name


def test_no_secret_is_in_an_object(objects: list[dict[str, Any]]) -> None:
    assert not [one for one in objects if one["kind"] == "Secret"]
    for text in texts(objects):
        assert not re.search(r"://[^/@\s\"]*:[^/@\s\"]*@", text), text
        for line in text.splitlines():
            if re.match(r"\s*\w*(password|token|secret|key)\s*=", line) and "file:" not in line:
                assert re.search(r'= ""$|= "/etc/offsite/(certificates|gateway)/', line), line


def test_every_command_parses(objects: list[dict[str, Any]]) -> None:
    verbs = set()
    for _, _, container in pods(objects):
        words = [*container["command"], *container.get("args", [])]
        assert words[0] == "offsite"
        verbs.add(parse(words[1:]).verb)
    assert verbs >= {"gateway", "worker", "agents", "desk", "topics"}


def test_the_settings_are_settings(objects: list[dict[str, Any]], values: Path, tmp_path: Path) -> None:
    tables = [one["data"]["offsite.toml"] for one in objects if one["kind"] == "ConfigMap"]
    assert len(tables) == 2
    assert tables[0] == tables[1]
    asked = given(values)
    text = tables[0]
    for name in ("desk_password", "kafka_password", "influx_token", "s3_key", "s3_secret"):
        (tmp_path / name).write_text(f"word of {name}")
    text = text.replace("/run/secrets/offsite", str(tmp_path))
    for path in set(re.findall(r"/etc/offsite/[\w/.]+", text)):
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).touch()
    text = text.replace("/etc/offsite", f"{tmp_path}/etc/offsite")
    (tmp_path / "offsite.toml").write_text(text, encoding="utf-8")
    settings = load_settings(tmp_path / "offsite.toml", {}, {})
    assert settings.cluster().bootstrap == asked["kafka"]["bootstrap"]
    assert settings.title == asked.get("title", "Offsite")
    assert "word%20of%20desk_password@" in settings.desk_database()
    assert settings.archive == asked["archive"]["url"]
    assert len(settings.inputs) == (1 if "extraSettings" in asked else 0)
    assert settings.archive_storage().get("secret", "word of s3_secret") == "word of s3_secret"
    used = {e["name"] for _, _, container in pods(objects) for e in container["env"]}
    known = {f"OFFSITE_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert used <= known | {"OFFSITE_LOG_FORMAT"}


def test_workers_are_static_members_and_as_many_as_asked(objects: list[dict[str, Any]], values: Path) -> None:
    asked = given(values)
    for who, kind, usual in (("gateway", "StatefulSet", 2), ("worker", "StatefulSet", 2), ("agents", "Deployment", 2)):
        [one] = [one for one in objects if one["metadata"]["name"] == f"city-{who}" and one["kind"] == kind]
        assert one["spec"]["replicas"] == asked.get(who, {}).get("replicas", usual)
        [container] = one["spec"]["template"]["spec"]["containers"]
        [instance] = [entry for entry in container["env"] if entry["name"] == "OFFSITE_INSTANCE"]
        assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_selectors_find_their_pods_and_no_other(objects: list[dict[str, Any]]) -> None:
    labels = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one, _, _ in pods(objects)}

    def found(selector: dict[str, str]) -> set[str]:
        return {name for name, own in labels.items() if selector.items() <= own.items()}

    for one in objects:
        name, spec = one["metadata"]["name"], one.get("spec", {})
        if one["kind"] in {"StatefulSet", "Deployment", "PodDisruptionBudget"}:
            assert found(spec["selector"]["matchLabels"]) == {name}
        elif one["kind"] == "Service" and name == "city-gateway":
            assert found(spec["selector"]) == {"city-gateway"}
        elif one["kind"] == "NetworkPolicy":
            everyone = found(spec["podSelector"]["matchLabels"])
            assert everyone == ({"city-gateway"} if name.endswith("devices") else set(labels))


def test_the_spool_outlives_its_pod(objects: list[dict[str, Any]]) -> None:
    [gateway] = [one for one in objects if one["kind"] == "StatefulSet" and one["metadata"]["name"] == "city-gateway"]
    [claim] = gateway["spec"]["volumeClaimTemplates"]
    mounts = gateway["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/var/lib/offsite"} in mounts


def test_jobs_run_before_the_processes(objects: list[dict[str, Any]]) -> None:
    for one in objects:
        hooked = one["metadata"].get("annotations", {}).get("helm.sh/hook")
        early = one["kind"] == "Job" or one["metadata"]["name"] == "city-setup"
        assert hooked == ("pre-install,pre-upgrade" if early else None), one["metadata"]["name"]


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ("kafka.bootstrap=", "bootstrap"),
        ("secrets.existingSecret=", "existingSecret"),
        ("database.url=postgresql+psycopg://offsite:word@db/offsite", "url"),
        ("archive.url=archive", "url"),
        ("image.tag=latest", "tag"),
        ("worker.replicas=-1", "replicas"),
        ("gatway.replicas=1", "gatway"),
        ("environment.HOME=/", "HOME"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: str, wrong: str, where: str) -> None:
    done = rendered(helm, "--values", CHART / "ci" / "minimal.yaml", "--set", wrong)
    assert done.returncode != 0
    assert where in done.stderr


def test_the_chart_has_the_version_of_the_product() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    chart = (CHART / "Chart.yaml").read_text(encoding="utf-8")
    assert f'appVersion: "{version}"' in chart
    assert f"version: {version}" in chart


def test_a_missing_secret_is_told_by_the_settings(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    text = next(one["data"]["offsite.toml"] for one in objects if one["kind"] == "ConfigMap")
    (tmp_path / "offsite.toml").write_text(text.replace("/run/secrets/offsite", str(tmp_path)), encoding="utf-8")
    with pytest.raises(SettingsFaults, match=r"desk_password"):
        load_settings(tmp_path / "offsite.toml", {}, {})
