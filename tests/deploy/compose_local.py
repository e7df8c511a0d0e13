"""Compose without Docker: the services of a compose file as processes of this machine, with the same command lines and environment.

What is put in another's place, and nothing else:

| in compose.yaml | here |
|---|---|
| SERVICE:PORT, an alias:PORT | 127.0.0.1:free port |
| 127.0.0.1 or 0.0.0.0 with a port of the service, `:` or `/` between | 127.0.0.1 with that free port |
| a port of the service as a whole word | that free port |
| 0.0.0.0 as a whole word | 127.0.0.1 |
| the target of a volume, of a tmpfs | a temporary directory |
| a mounted file | a copy with the same replacements |
| /run/secrets/NAME | the file that secrets.sh drew, in a temporary directory |
| the name of a container | OFFSITE_INSTANCE=SERVICE-NUMBER |
| the program's name | the program of this machine (`programs`) |
| a file of our image | its source in the project (`files`) |
| what an image's entry point does first | `prepare` |
| a health check's tool that only the image has | the same question by curl or bash (`EQUIVALENT`) |

A second replica has ports and directories of its own. `depends_on` with its conditions, health checks, restarts of one-shot services,
stop signals and grace periods are followed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy.compose_file import active, seconds
from tests.real.kafka import ORPHAN, free_ports

START_S = 180
"""How long a service may take to become healthy, or a one-shot service to end, on a busy machine."""
RESTARTS = 5
"""How often a service may end by itself before it is healthy."""
EQUIVALENT: Mapping[str, Callable[[list[str]], list[str]]] = {
    "influx": lambda words: ["curl", "--fail", "--silent", f"{words[-1]}/ping"],
    "wget": lambda words: ["curl", "--fail", "--silent", "--output", "/dev/null", words[-1]],
    "nc": lambda words: ["bash", "-c", f"exec 3<>/dev/tcp/{words[-2]}/{words[-1]}"],
}


@dataclass
class Container:
    """One replica of a service: its ports, its directories and its process."""

    name: str
    service: dict[str, Any]
    folder: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0

    def log(self) -> str:
        """Return the end of what it printed."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-6000:]


@dataclass
class Project:
    """A compose file, parsed and interpolated, as processes.

    `programs` gives the words here of a program's name, `files` the path here of what an image holds, `prepare` what an image's own
    entry point does before the program, `users` who runs it.
    """

    services: dict[str, Any]
    base: Path
    folder: Path
    secrets: Path
    programs: Mapping[str, list[str]]
    files: Mapping[str, str]
    prepare: Mapping[str, Callable[[Container, dict[str, str]], None]] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    containers: dict[str, list[Container]] = field(default_factory=dict)

    def up(self, only: Callable[[str], bool] = lambda name: True) -> None:
        """Start all services, or some, in the order of their dependencies; returns once all are healthy."""
        order = [name for name in active(self.services, self.profiles) if only(name)]
        for name in order:
            self._make(name)
        for name in order:
            self._await(name, order)
            for container in self.containers[name]:
                self._start(container)
        for name in order:
            (self._healthy if "healthcheck" in self.services[name] else self._completed)(name)

    def run(self, name: str) -> str:
        """Run a one-shot service as `compose run --rm` does; returns what it printed."""
        self._make(name)
        [container] = self.containers[name]
        self._start(container)
        self._completed(name)
        return container.log()

    def port(self, service: str, port: int) -> int:
        """Return where a port of a service is here."""
        return self.containers[service][0].ports[str(port)]

    def down(self) -> list[str]:
        """Stop everything by its signal, each before what it depends on; returns who did not end well within its grace period."""
        late: list[str] = []
        left = dict(self.containers)
        while left:
            needed = {other for name in left for other in self._needs(name)}
            last = [container for name in list(left) if name not in needed for container in left.pop(name)]
            running = [c for c in last if c.process is not None and c.process.poll() is None]
            for container in running:
                assert container.process is not None
                container.process.send_signal(signal.Signals[container.service.get("stop_signal", "SIGTERM")])
            late += [container.name for container in running if not self._ended(container)]
        return late

    def _needs(self, name: str) -> list[str]:
        """Return what a service depends on."""
        return list(self.services[name].get("depends_on", {}))

    def _ended(self, container: Container) -> bool:
        """Wait for a stopped container; whatever is left of it is killed."""
        assert container.process is not None
        grace = seconds(container.service.get("stop_grace_period", "10s"))
        try:
            container.process.wait(grace)
            good = True
        except subprocess.TimeoutExpired:
            good = False
        try:
            os.killpg(container.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return good
        container.process.wait()
        return False

    def _make(self, name: str) -> None:
        service = self.services[name]
        replicas = int(service.get("deploy", {}).get("replicas", 1))
        host = service.get("network_mode", "")
        wanted = [str(p) for p in service.get("expose", [])] + [p.rsplit(":", 1)[-1] for p in service.get("ports", [])]
        made = []
        for number in range(1, replicas + 1):
            folder = self.folder / f"{name}-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)
            ports = dict(zip(dict.fromkeys(wanted), free_ports(len(set(wanted))), strict=True))
            if host.startswith("service:"):
                ports = self.containers[host.removeprefix("service:")][0].ports
            made.append(Container(f"{name}-{number}", service, folder, ports))
        self.containers[name] = made

    def _text(self, container: Container, text: str, paths: Mapping[str, str]) -> str:
        """Put this machine's addresses and paths into a word or a file."""
        known = {name: made[0].ports for name, made in self.containers.items()}
        for made in self.containers.values():
            for alias in made[0].service.get("networks", {}).get("default", {}).get("aliases", []):
                known.setdefault(alias, made[0].ports)
        known |= {"127.0.0.1": container.ports, "0.0.0.0": container.ports}
        names = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))

        def address(found: re.Match[str]) -> str:
            port = known[found[1]].get(found[3])
            return found[0] if port is None else f"127.0.0.1{found[2]}{port}"

        text = re.sub(rf"(?<![\w.-])({names})([:/])(\d+)(?!\d)", address, text)
        text = re.sub(r"(?<!\S)\d+(?!\S)", lambda found: str(container.ports.get(found[0], found[0])), text)
        text = re.sub(r"(?<!\S)0\.0\.0\.0(?!\S)", "127.0.0.1", text)
        targets = "|".join(map(re.escape, sorted(paths, key=len, reverse=True)))
        return re.sub(rf"(?<![\w.-])({targets})(?![\w-])", lambda found: paths[found[1]], text)

    def _paths(self, container: Container) -> dict[str, str]:
        """Return path in the container → path here; mounted files are copied."""
        paths = {"/run/secrets": str(self.secrets), **self.files}
        for place in container.service.get("tmpfs", []):
            target = place.split(":")[0]
            paths[target] = f"{container.folder}/tmpfs{target}"
            Path(paths[target]).mkdir(parents=True, exist_ok=True)
        copies = []
        for volume in container.service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source[0] in "./":
                copies.append((self.base / source, target))
                paths[target] = f"{container.folder}/mounted{target}"
            else:
                shared = self.folder / "volumes" / source
                shared.mkdir(parents=True, exist_ok=True)
                paths[target] = str(shared)
        for source, target in copies:
            for file in [source] if source.is_file() else sorted(source.iterdir()):
                copy = Path(paths[target]) if source.is_file() else Path(paths[target]) / file.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(self._text(container, file.read_text(encoding="utf-8"), paths), encoding="utf-8")
        return paths

    def words(self, container: Container, words: list[str]) -> list[str]:
        """Return a command line of the container as one of this machine."""
        paths = self._paths(container)
        program, *rest = [self._text(container, word, paths) for word in words]
        if program in EQUIVALENT:
            program, *rest = EQUIVALENT[program]([program, *rest])
        return [*self.programs.get(program, [program]), *rest]

    def environment(self, container: Container) -> dict[str, str]:
        """Return the environment of the container as one of this machine."""
        paths = self._paths(container)
        given = container.service.get("environment", {})
        own = {name: self._text(container, str(value), paths) for name, value in given.items()}
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(container.folder),
            "LC_ALL": "C.UTF-8",
            "OFFSITE_INSTANCE": container.name,
        }
        return base | own

    def _start(self, container: Container) -> None:
        name = container.name.rsplit("-", 1)[0]
        environment, words = self.environment(container), self.words(container, container.service["command"])
        if name in self.prepare:
            self.prepare[name](container, environment)
        with (container.folder / "log").open("ab") as log:
            container.process = subprocess.Popen(
                [*ORPHAN, *words],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=container.folder,
                user=self.users.get(name),
                start_new_session=True,
            )

    def _await(self, name: str, order: list[str]) -> None:
        for other, how in self.services[name].get("depends_on", {}).items():
            if other in order:
                wait = {"service_healthy": self._healthy, "service_completed_successfully": self._completed}[how["condition"]]
                wait(other)

    def _healthy(self, name: str) -> None:
        """Run the health check until it passes, as often as the file says at most."""
        for container in self.containers[name]:
            check = container.service.get("healthcheck")
            if check is None:
                continue
            deadline = time.monotonic() + START_S
            while True:
                self._restarted(container)
                words = self.words(container, check["test"][1:])
                done = subprocess.run(
                    words,
                    env=self.environment(container),
                    capture_output=True,
                    timeout=seconds(check["timeout"]) + 25,
                    check=False,
                )
                if done.returncode == 0:
                    break
                told = (done.stdout + done.stderr).decode(errors="replace")
                assert time.monotonic() < deadline, f"{container.name} is not healthy: {words}: {told}\n{container.log()}"
                time.sleep(0.3)

    def _restarted(self, container: Container) -> None:
        """Start a long-running service again if it has ended by itself, as `restart: unless-stopped` does, a few times at most."""
        assert container.process is not None
        code = container.process.poll()
        if code is not None:
            container.restarts += 1
            assert container.restarts <= RESTARTS, (
                f"{container.name} ends again and again, now with code {code}:\n{container.log()}"
            )
            self._start(container)

    def _completed(self, name: str) -> None:
        """Wait for a one-shot service; it is started again as often as `restart` allows."""
        [container] = self.containers[name]
        for left in range(int(container.service["restart"].partition(":")[2]), -1, -1):
            assert container.process is not None
            code = container.process.wait(START_S)
            if code == 0:
                return
            assert left, f"{container.name} failed with code {code}:\n{container.log()}"
            self._start(container)
