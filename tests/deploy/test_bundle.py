"""The offline bundle: what its lock keeps, what its bill of materials says, and an installation that no network helps."""

from __future__ import annotations

import doctest
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "bundle"
LOCK = ROOT / "requirements.lock"
DEAD = "http://127.0.0.1:9/"
"""Nobody listens there: whoever asks a package index is caught."""


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sbom, runtime_lock = script("sbom"), script("runtime_lock")


def wheel(folder: Path, name: str, version: str, *, metadata: str = "", module: str = "", **files: str) -> Path:
    """Make a wheel of one module (PEP 427); `files` are further files of it, `_` in a name standing for `.` of the extension."""
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}.py": module,
        **{key.replace("__", "/").replace("_md", ".md").replace("_js", ".js"): text for key, text in files.items()},
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*content, f"{info}/RECORD"])
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for file, text in content.items():
            archive.writestr(file, text)
    return made


def jar(folder: Path, name: str, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return folder / name


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Give a bundle of two wheels: the product, which needs the other one."""
    folder = tmp_path / "bundle"
    (folder / "wheelhouse").mkdir(parents=True)
    (folder / "docs").mkdir()
    (folder / "docs" / "deploy.md").write_text("deploy\n")
    (folder / "LICENSE").write_text("licence\n")
    (folder / "PYTHON").write_text(f"{sys.version_info[0]}.{sys.version_info[1]}\n")
    (folder / "install.sh").write_bytes((FOLDER / "install.sh").read_bytes())
    table = "| `htm.js` | htm 3.1.1 | `dist/htm.mjs` | Apache-2.0 (`LICENSE-htm.txt`) | `0` |\n"
    wheel(
        folder / "wheelhouse",
        "offsite",
        "0.1.0",
        metadata="License-Expression: Apache-2.0\nRequires-Dist: needed==2.0",
        module="import needed\n\ndef main():\n    print(needed.version)\n",
        web__VENDORED_md=table,
        web__htm_js="export default 1\n",
    )
    wheel(
        folder / "wheelhouse",
        "needed",
        "2.0",
        metadata="Classifier: License :: OSI Approved :: MIT License",
        module="version = '0.1.0'\n",
    )
    for name, words in (("install.lock", ["--lock"]), ("sbom.cdx.json", [])):
        done = subprocess.run([sys.executable, FOLDER / "sbom.py", folder, *words], capture_output=True, check=True)
        (folder / name).write_bytes(done.stdout)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    sums = "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  ./{f.relative_to(folder)}\n" for f in files)
    (folder / "SHA256SUMS").write_text(sums)
    return folder


@pytest.fixture
def install(bundle: Path, tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Give what runs install.sh without any network that pip would find."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))}
    blocked = {"PIP_INDEX_URL": DEAD, "HTTPS_PROXY": DEAD, "HTTP_PROXY": DEAD, "PYTHON": sys.executable}

    def run() -> subprocess.CompletedProcess[str]:
        words = ["bash", bundle / "install.sh", tmp_path / "installed"]
        return subprocess.run(words, env=clean | blocked, capture_output=True, text=True, check=False)

    return run


@pytest.mark.servers  # a virtual environment takes seconds
def test_a_bundle_installs_without_a_network_and_runs(install: Any, tmp_path: Path) -> None:
    done = install()
    assert (done.returncode, done.stderr) == (0, "")
    assert "offsite 0.1.0 is in" in done.stdout
    program = tmp_path / "installed" / "bin" / "offsite"
    assert subprocess.run([program], capture_output=True, text=True, check=True, env={}).stdout == "0.1.0\n"
    assert (tmp_path / "installed" / "share" / "docs" / "deploy.md").is_file()
    assert install().returncode == 0


def test_a_changed_file_is_not_installed(install: Any, bundle: Path, tmp_path: Path) -> None:
    wheel(bundle / "wheelhouse", "needed", "2.0", module="version = 'other'\n")
    done = install()
    assert done.returncode == 1
    assert "needed-2.0-py3-none-any.whl: FAILED" in done.stdout + done.stderr
    assert "copy the bundle again" in done.stderr
    assert not (tmp_path / "installed").exists()


@pytest.mark.servers  # a virtual environment takes seconds
def test_a_wheel_that_the_lock_does_not_know_is_refused_by_pip(install: Any, bundle: Path) -> None:
    lock = bundle / "install.lock"
    lock.write_text(re.sub(r"(needed.*sha256:)\w+", rf"\g<1>{'0' * 64}", lock.read_text()))
    sums = (bundle / "SHA256SUMS").read_text().splitlines(keepends=True)
    (bundle / "SHA256SUMS").write_text("".join(line for line in sums if "install.lock" not in line))
    done = install()
    assert done.returncode != 0
    assert "HASHES" in done.stderr


def test_another_python_is_told(install: Any, bundle: Path) -> None:
    (bundle / "PYTHON").write_text("3.9\n")
    done = install()
    assert done.returncode == 1
    assert "the wheels are for Python 3.9" in done.stderr


def test_the_bill_names_every_part_with_hash_and_licence(bundle: Path) -> None:
    bill = json.loads((bundle / "sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/offsite@0.1.0"
    found = {one["purl"]: one["licenses"] for one in bill["components"]}
    assert found == {
        "pkg:pypi/needed@2.0": [{"license": {"name": "MIT License"}}],
        "pkg:npm/htm@3.1.1": [{"license": {"id": "Apache-2.0"}}],
    }
    needed = hashlib.sha256((bundle / "wheelhouse" / "needed-2.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert bill["components"][0]["hashes"] == [{"alg": "SHA-256", "content": needed}]
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(references) == len(set(references))


def test_jars_say_their_licence_in_each_of_the_usual_ways(tmp_path: Path) -> None:
    folded = "Bundle-License: https://www.apache.org/licenses/LICE\r\n NSE-2.0\r\nBundle-SymbolicName: org.a\r\n"
    pom = "<project><licenses><license>\n<name>EPL-2.0</name></license></licenses></project>"
    cases = {
        jar(tmp_path, "a-1.0.jar", {"META-INF/MANIFEST.MF": folded}): ("org.a", "https://www.apache.org/licenses/LICENSE-2.0"),
        jar(tmp_path, "b-c-2.1.jar", {"META-INF/maven/g/b-c/pom.xml": pom}): ("g", "EPL-2.0"),
        jar(tmp_path, "d-3.jar", {"META-INF/LICENSE": "The  MIT\nLicense"}): ("d", "The MIT License"),
        jar(tmp_path, "re2j-1.8.jar", {}): ("re2j", "BSD-3-Clause"),
    }
    for file, (group, licence) in cases.items():
        one = sbom.jar_component(file)
        assert one["licenses"] == [{"license": {"name": licence}}]
        assert one["purl"] == f"pkg:maven/{group}/{one['name']}@{one['version']}"


def test_what_says_no_licence_stops_the_bill(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"silent-1\.0.*no licence"):
        sbom.wheel_component(wheel(tmp_path, "silent", "1.0"))
    with pytest.raises(ValueError, match=r"silent-1\.jar does not say its licence"):
        sbom.jar_component(jar(tmp_path, "silent-1.jar", {}))


def test_the_runtime_lock_keeps_what_runs_and_leaves_what_tests() -> None:
    done = subprocess.run([sys.executable, FOLDER / "runtime_lock.py", LOCK], capture_output=True, text=True, check=True)
    kept = dict(runtime_lock.entries(done.stdout))
    whole = dict(runtime_lock.entries(LOCK.read_text(encoding="utf-8")))
    assert {"confluent-kafka", "faust-streaming", "influxdb-client", "psycopg-binary", "s3fs", "numpy", "uvicorn"} <= set(kept)
    assert not {"ruff", "mypy", "pytest", "playwright", "hypothesis", "import-linter", "pyyaml"} & set(kept)
    assert all(whole[name] == entry for name, entry in kept.items() if name != "numpy")
    assert all("--hash=sha256:" in entry for entry in kept.values())


def test_the_examples_in_the_scripts_hold() -> None:
    assert doctest.testmod(runtime_lock) == (0, 2)


def test_a_lock_that_lacks_something_is_told() -> None:
    with pytest.raises(ValueError, match="the lock lacks b"):
        runtime_lock.part("a==1 \\\n    --hash=sha256:0\n", ["a", "b"])


def test_every_installed_package_of_the_lock_declares_a_licence() -> None:
    done = subprocess.run([sys.executable, FOLDER / "runtime_lock.py", LOCK], capture_output=True, text=True, check=True)
    silent = [name for name, _ in runtime_lock.entries(done.stdout) if not sbom.licences_of(distribution(name).metadata)]
    assert silent == []
