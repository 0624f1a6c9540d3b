"""The life of the process: the handshake, the lifeline, the end (docs/protocol.md, 1)."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time

import grpc

from weir.plugin.v1 import plugin_pb2_grpc

from .component import Spec
from .service import Service

PROTOCOL = 1
MESSAGE_BYTES = 256 << 20


def serve(name: str, version: str, specs: list[Spec]) -> None:
    """Serves the components to the host that has started this process, until it says
    that it is enough."""
    if os.environ.get("WEIR_PLUGIN") != "weir.plugin":
        sys.exit(f"This is the Weir plugin {name} {version}. A weir starts it: name it in the pipeline file.")
    spoken = os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "").split(",")
    if str(PROTOCOL) not in spoken:
        sys.exit(f"The host speaks versions {spoken} of the plugin protocol and this plugin {PROTOCOL}.")
    if os.environ.get("PLUGIN_CLIENT_CERT"):
        sys.exit("The host asks for TLS, which this plugin does not speak.")
    _log_to_stderr()
    _hold_on()
    # Standard output is the handshake's. What is printed goes to the log.
    handshake = os.dup(1)
    os.dup2(2, 1)
    asyncio.run(_serve(Service(name, version, specs), handshake))
    # Threads of calls that hang would keep the process alive.
    os._exit(0)


async def _serve(service: Service, handshake: int) -> None:
    shutdown = asyncio.Event()
    server = grpc.aio.server(options=[
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.http2.lookahead_bytes", 1 << 20),
    ])
    plugin_pb2_grpc.add_PluginServicer_to_server(service, server)
    server.add_generic_rpc_handlers((_health(), _controller(shutdown)))
    address = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], f"py{os.getpid()}")
    server.add_insecure_port("unix:" + address)
    await server.start()
    os.write(handshake, f"1|{PROTOCOL}|unix|{address}|grpc|\n".encode())
    os.close(handshake)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, shutdown.set)
    await shutdown.wait()
    await server.stop(0.5)


def _health() -> grpc.GenericRpcHandler:
    """grpc.health.v1.Health: status 1 is SERVING. The message is short enough to do
    without a library."""

    async def check(request: bytes, context) -> bytes:
        return b"\x08\x01"

    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})


def _controller(shutdown: asyncio.Event) -> grpc.GenericRpcHandler:
    """go-plugin's way to say that it is enough: an empty message each way."""

    async def stop(request: bytes, context) -> bytes:
        shutdown.set()
        return b""

    return grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(stop)})


def _hold_on() -> None:
    """Ends the process at once when the host is gone, and keeps the lock's file open
    and from children."""
    for variable in ("WEIR_LOCK_FD", "WEIR_STDOUT_FD", "WEIR_LIFELINE_FD"):
        if fd := os.environ.get(variable):
            os.set_inheritable(int(fd), False)
    if fd := os.environ.get("WEIR_LIFELINE_FD"):

        def watch() -> None:
            while os.read(int(fd), 1):
                pass
            os._exit(0)

        threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _log_to_stderr() -> None:
    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
                    "level": record.levelname, "msg": record.getMessage(), "logger": record.name}
            if record.exc_info:
                line["error"] = self.formatException(record.exc_info)
            return json.dumps(line)

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
