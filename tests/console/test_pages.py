from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cases.moves import ACTIONS, CASE_STATES, CLOSE_REASONS
from cases.people import ROLES
from console import pages
from tests.conftest import ROOT, need

WEB = ROOT / "console" / "web"
MODULES = sorted(WEB.glob("*.js"))
WORDS = {name: json.loads((WEB / f"{name}.json").read_text("utf-8")) for name in ("zh-CN", "en")}


def test_languages_hold_the_same_words() -> None:
    assert WORDS["zh-CN"].keys() == WORDS["en"].keys()
    assert all(text.strip() for words in WORDS.values() for text in words.values())
    places = {name: {key: set(re.findall(r"\{\w+\}", text)) for key, text in words.items()} for name, words in WORDS.items()}
    assert places["zh-CN"] == places["en"]


def test_every_word_a_page_asks_for_exists() -> None:
    asked = {key for module in MODULES for key in re.findall(r"\bt\(\"([\w.]+)\"", module.read_text("utf-8"))}
    assert asked - WORDS["en"].keys() == set()


def test_every_code_of_the_desk_has_a_word() -> None:
    codes = {f"action.{name}" for name in ACTIONS}
    codes |= {f"casestate.{name}" for name in CASE_STATES} | {f"role.{name}" for name in ROLES}
    codes |= {f"closereason.{name}" for name in CLOSE_REASONS}
    assert codes - WORDS["en"].keys() == set()


def test_no_text_is_written_into_a_module() -> None:
    for module in MODULES:
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", module.read_text("utf-8"), flags=re.DOTALL)
        assert re.findall(r"[\u4e00-\u9fff]+", code) in ([], ["中文"]), module.name


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_modules_parse_and_stay_small(module: Path) -> None:
    assert len(module.read_text("utf-8").splitlines()) <= 300
    node = shutil.which("node")
    need(node, "node (only to check that the modules parse)")
    assert node is not None
    checked = subprocess.run(
        [node, "--check", "--input-type=module"], input=module.read_bytes(), capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr.decode()


def test_vendored_files_are_what_the_list_says() -> None:
    listed = dict(re.findall(r"\| `([\w.-]+)` \|.*\| `([0-9a-f]{64})` \|", (WEB / "vendor" / "VENDORED.md").read_text("utf-8")))
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (WEB / "vendor").glob("*.[jc]s*")}
    assert there == listed


def test_every_import_of_the_map_is_served(client: TestClient) -> None:
    page = client.get("/").text
    found = re.search(r"<script type=\"importmap\">(.*?)</script>", page, re.DOTALL)
    assert found is not None
    imports = json.loads(found.group(1))["imports"]
    assert len(imports) == 6
    for path in (*imports.values(), *re.findall(r"(?:href|src)=\"(/[^\"]+)\"", page)):
        assert client.get(path).status_code == 200, path


def test_files_are_revalidated(client: TestClient) -> None:
    first = client.get("/web/app.js")
    assert first.headers["content-type"].startswith("text/javascript")
    assert first.headers["cache-control"] == "no-cache"
    assert client.get("/web/app.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert client.get("/web/../app.py").status_code == 404
    assert client.get("/web/nothing.js").status_code == 404


def test_the_policy_names_the_import_map_by_its_hash() -> None:
    files = pages.load()
    assert "script-src 'self' 'sha256-" in pages.policy(files)
    assert "LICENSE-htm.txt" in {name.removeprefix("vendor/") for name in files}
