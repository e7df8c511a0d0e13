"""A compose file as data: read, its variables put in, its services in the order in which they start."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into ${NAME:-default}; a name without value and default is an error."""

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if not variables.get(name) and default is None:
            raise ValueError(f"${{{name}}} has neither a value nor a default")
        return variables.get(name) or default

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", value, text)


def read(file: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Read a compose file and put the variables in."""
    import yaml

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        return interpolated(node, variables) if isinstance(node, str) else node

    return dict(walk(yaml.safe_load(file.read_text(encoding="utf-8"))))


def variables_of(file: Path) -> dict[str, str]:
    """Read an env file: NAME=VALUE lines and comments."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def seconds(text: str) -> float:
    """Return the seconds of 10s, 2m."""
    found = re.fullmatch(r"(\d+)(s|m)", text)
    assert found, text
    return int(found[1]) * (60 if found[2] == "m" else 1)


def active(services: Mapping[str, Any], profiles: Iterable[str]) -> list[str]:
    """Return the services that `up` starts, each after what it depends on."""
    wanted = [name for name, one in services.items() if not one.get("profiles") or set(one["profiles"]) & set(profiles)]
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        for other, how in services[name].get("depends_on", {}).items():
            if other in wanted:
                visit(other)
            else:
                assert how.get("required", True) is False, f"{name} depends on {other}, which no profile starts"
        order.append(name)

    for name in wanted:
        visit(name)
    return order


def find(program: str, *places: str) -> str | None:
    """Return a program's path, looking beside PATH into the places where packages put servers."""
    return shutil.which(program, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *places]))
