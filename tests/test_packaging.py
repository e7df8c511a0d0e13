"""The wheel as a user gets it: built, installed into an environment of its own, and run from somewhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.catalog import CATALOG
from offsite.cli import VERBS
from streams.plan import load_plan
from tests.conftest import ROOT, need

pytestmark = pytest.mark.servers

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
Told = subprocess.CompletedProcess[str]
CSV = "site,point,factor,time,period,value\nS1,DA001,a21026,2026-10-12T08:00:00+08:00,hour,450\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as `pip install .` would; its build back end comes from the package index."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    unreachable = "No matching distribution found for hatchling" in built.stderr or "Connection" in built.stderr
    need(not unreachable, "a package index with the build back end")
    assert built.returncode == 0, built.stderr
    [found] = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Told]:
    """Install the wheel into a clean environment; its dependencies are those of this one, the source tree is not there."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "OFFSITE_", "VIRTUAL_ENV"))}

    def run(*args: str) -> Told:
        command = [str(folder / "bin" / args[0]), *args[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=clean)

    return run


def test_the_wheel_has_what_the_product_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names} - {f"offsite-{PROJECT['version']}.dist-info"}
    assert tops == {"offsite", "console", "cases", "streams", "detectors", "connectors"}
    data = {
        p.relative_to(ROOT).as_posix()
        for top in tops
        for p in (ROOT / top).rglob("*")
        if p.is_file() and p.suffix not in {".pyc", ".py"}
    }
    assert data <= set(names), "every plan, table and page of the source tree is in the wheel"
    assert {"streams/plan/plan.toml", "streams/plan/limits.csv", "cases/migrations/env.py"} <= set(names)
    assert not [n for n in names if n.startswith("tests") or n.endswith(".pyc")]


def test_help_prints_every_verb(installed: Callable[..., Told]) -> None:
    told = installed("offsite", "--help")
    assert told.returncode == 0, told.stderr
    for verb, words in VERBS.items():
        assert f"\n    {verb}" in told.stdout
        assert words.split()[0] in told.stdout
    assert installed("offsite", "--version").stdout.strip() == PROJECT["version"]
    assert installed("offsite").returncode == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(installed: Callable[..., Told], verb: str) -> None:
    told = installed("offsite", verb, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "offsite " + verb in told.stdout


def test_the_installed_product_is_the_one_that_runs(installed: Callable[..., Told]) -> None:
    told = installed("python", "-c", "import offsite, streams, sys; print(offsite.__file__, streams.__file__)")
    assert str(ROOT) not in told.stdout
    assert told.stdout.count("site-packages") == 2


def test_it_judges(installed: Callable[..., Told], tmp_path: Path) -> None:
    file, data = tmp_path / "day.csv", tmp_path / "data"
    file.write_text(CSV)
    told = installed("offsite", "replay", str(file), "--data", str(data), "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["readings"]["accepted"] == 1
    shown = installed("offsite", "show", "alerts", "--data", str(data), "--json")
    [alert] = [json.loads(line) for line in shown.stdout.splitlines()]
    assert (alert["rule"], alert["site"], alert["plan"]) == ("exceed-hour", "S1", load_plan().hash)


def test_the_catalogue_and_the_plan_agree() -> None:
    used = {rule.detector for rule in load_plan().rules}
    assert used <= set(CATALOG)
    assert set(CATALOG) - used <= {"null"}, "a detector that no rule uses is dead weight"
    assert all(name == detector.name for name, detector in CATALOG.items())
