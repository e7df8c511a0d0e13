"""HTTP servers on this process's event loop: applications enter, each on a port; open ports leave. The caller owns the signals."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn

from connectors.core import Lost


class Web:
    """The servers of one process. Create it inside the event loop."""

    def __init__(self) -> None:
        self._servers: list[uvicorn.Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def serve(self, app: Any, host: str, port: int) -> int:
        """Serve an ASGI application; return its port (0 takes a free one). Raises Lost if the port is in use."""
        config = uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        try:
            sock = config.bind_socket()
        except SystemExit as error:
            raise Lost(f"port {host}:{port} cannot be opened; choose another port or stop its owner") from error
        self._servers.append(server)
        config.load()
        server.lifespan = config.lifespan_class(config)
        sock.listen()  # who connects before the server is up waits for it
        self._tasks.append(asyncio.create_task(server.serve([sock])))
        return int(sock.getsockname()[1])

    def stopping(self) -> bool:
        """Say whether event streams should end."""
        return any(server.should_exit for server in self._servers)

    def close(self) -> None:
        """Take no more requests; what is being answered is finished."""
        for server in self._servers:
            server.should_exit = True
