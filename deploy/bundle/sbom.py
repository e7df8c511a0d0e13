"""Say what a bundle holds: its wheels, jars and servers, each with version, SHA-256 and licence. Nothing is asked over a network.

    python deploy/bundle/sbom.py DIR > DIR/sbom.cdx.json          a bill of materials, CycloneDX 1.6 (ECMA-424)
    python deploy/bundle/sbom.py DIR --lock > DIR/install.lock    NAME==VERSION with the hash of the very file, for pip

The bundle's files enter; licences are read from what is in them (core metadata of wheels, manifest, pom.xml or licence text of jars).
"""

# ruff: noqa: INP001, T201 — a script that prints, beside what it serves

from __future__ import annotations

import argparse
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

JARS = {
    "hash4j": "Apache-2.0",
    "metrics-core": "Apache-2.0",
    "pcollections": "MIT",
    "re2j": "BSD-3-Clause",
    "slf4j-api": "MIT",
}
"""Jars that carry no word of their licence."""
VENDORED = re.compile(
    r"^\| `(?P<file>[\w.-]+)` \| (?P<name>\S+) (?P<version>[\d.]+) \| \S+ \| (?P<licence>[\w.-]+) ", re.MULTILINE
)
PLAIN = re.compile(r"[A-Za-z0-9.+ ()-]{2,80}")


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def component(file: Path, name: str, version: str, purl: str, licences: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one component of CycloneDX."""
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": digest(file)}],
        "licenses": licences,
    }


def metadata(wheel: Path) -> Message:
    """Return the core metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [one for one in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", one)]
        return Parser().parsestr(archive.read(name).decode())


def licences_of(about: Message) -> list[dict[str, Any]]:
    """Return the licences that core metadata declares: an SPDX expression (PEP 639), else a classifier, else a short text."""
    if about["License-Expression"]:
        return [{"expression": about["License-Expression"]}]
    found = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier", []) if one.startswith("License ::")]
    text = (about["License"] or "").strip()
    if not found and PLAIN.fullmatch(text):
        found = [text]
    return [{"license": {"name": name}} for name in found]


def wheel_component(wheel: Path) -> dict[str, Any]:
    """Return the component of a wheel. Raises ValueError if it declares no licence."""
    about = metadata(wheel)
    name, version = re.sub(r"[-_.]+", "-", about["Name"]).lower(), about["Version"]
    licences = licences_of(about)
    if not licences:
        raise ValueError(f"{wheel.name} declares no licence; find it out before you pass it on")
    return component(wheel, name, version, f"pkg:pypi/{name}@{version}", licences)


def jar_component(jar: Path) -> dict[str, Any]:
    """Return the component of a jar. Raises ValueError if nothing in it or in JARS says its licence."""
    found = re.fullmatch(r"(.+?)-(\d.*)\.jar", jar.name)
    name, version = (found[1], found[2]) if found else (jar.stem, "0")
    with zipfile.ZipFile(jar) as archive:
        group, licence = group_of(archive, name), licence_of(archive) or JARS.get(name)
    if not licence:
        raise ValueError(f"{jar.name} does not say its licence; find it out and add it to JARS")
    return component(jar, name, version, f"pkg:maven/{group}/{name}@{version}", [{"license": {"name": licence}}])


def group_of(archive: zipfile.ZipFile, name: str) -> str:
    """Return a jar's Maven group, or what its manifest calls itself."""
    for entry in archive.namelist():
        if found := re.fullmatch(rf"META-INF/maven/([^/]+)/{re.escape(name)}/pom\.xml", entry):
            return found[1]
    found = re.search(r"^(?:Bundle-SymbolicName|Automatic-Module-Name): *([\w.-]+)", manifest(archive), re.MULTILINE)
    return found[1] if found else name


def manifest(archive: zipfile.ZipFile) -> str:
    """Return a jar's manifest, its folded lines joined."""
    if "META-INF/MANIFEST.MF" not in archive.namelist():
        return ""
    return re.sub(r"\r?\n ", "", archive.read("META-INF/MANIFEST.MF").decode(errors="replace"))


def licence_of(archive: zipfile.ZipFile) -> str | None:
    """Return what a jar says of its licence: manifest, pom.xml, or the first words of its licence text."""
    if found := re.search(r"^Bundle-License: *(.+)$", manifest(archive), re.MULTILINE):
        return found[1].strip()
    for entry in archive.namelist():
        if re.fullmatch(r"META-INF/maven/[^/]+/[^/]+/pom\.xml", entry):
            pom = archive.read(entry).decode(errors="replace")
            if found := re.search(r"<license>\s*<name>(.*?)</name>", pom, re.DOTALL):
                return found[1].strip()
    for entry in archive.namelist():
        if re.fullmatch(r"(META-INF/)?LICENSE(\.txt|\.md)?", entry, re.IGNORECASE):
            return " ".join(archive.read(entry).decode(errors="replace").split()[:6])
    return None


def vendored(wheel: Path) -> Iterator[dict[str, Any]]:
    """Yield the script libraries that the product's own wheel carries, by its table of them."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/VENDORED.md"):
                for one in VENDORED.finditer(archive.read(name).decode()):
                    purl = f"pkg:npm/{one['name'].replace('@', '%40')}@{one['version']}"
                    data = archive.read(name.replace("VENDORED.md", one["file"]))
                    yield {
                        "type": "library",
                        "bom-ref": f"{purl}#{one['file']}",
                        "name": one["name"],
                        "version": one["version"],
                        "purl": purl,
                        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}],
                        "licenses": [{"license": {"id": one["licence"]}}],
                    }


def influxd(bundle: Path) -> Iterator[dict[str, Any]]:
    """Yield the InfluxDB server, if the bundle has one; its version is that of the builder beside it."""
    server = bundle / "build" / "influxdb" / "influxd"
    if server.is_file():
        builder = (bundle / "deploy" / "influxdb" / "build-influxd.sh").read_text(encoding="utf-8")
        version = re.search(r"^version=v(\S+)$", builder, re.MULTILINE)
        assert version, "the builder names its version"
        purl = f"pkg:golang/github.com/influxdata/influxdb/v2@v{version[1]}"
        yield component(server, "influxdb", version[1], purl, [{"license": {"id": "MIT"}}])


def bill(bundle: Path) -> dict[str, Any]:
    """Return the bill of materials of a bundle. Raises ValueError for what has no licence."""
    wheels = {file: wheel_component(file) for file in sorted((bundle / "wheelhouse").glob("*.whl"))}
    [product] = [(file, one) for file, one in wheels.items() if one["name"] == "offsite"]
    parts = [one for one in wheels.values() if one["name"] != "offsite"]
    parts += vendored(product[0])
    parts += [jar_component(jar) for jar in sorted((bundle / "build" / "kafka" / "lib").glob("*.jar"))]
    parts += influxd(bundle)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": product[1] | {"type": "application"}},
        "components": parts,
    }


def lock(bundle: Path) -> str:
    """Return a requirements file that admits the bundle's wheels and nothing else."""
    wheels = [(wheel_component(file), file) for file in sorted((bundle / "wheelhouse").glob("*.whl"))]
    return "".join(f"{one['name']}=={one['version']} --hash=sha256:{digest(file)}\n" for one, file in wheels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Say what a bundle holds.")
    parser.add_argument("bundle", type=Path, metavar="DIR")
    parser.add_argument("--lock", action="store_true", help="print a requirements file instead of the bill of materials")
    given = parser.parse_args()
    print(lock(given.bundle) if given.lock else json.dumps(bill(given.bundle), indent=1, ensure_ascii=False))
