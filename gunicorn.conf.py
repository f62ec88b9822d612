"""How gunicorn serves the console. Holds the process model only: the application has its settings.

HOST and PORT say where to listen, WEB_CONCURRENCY and WEB_THREADS how many requests are served at
once, SHUTDOWN_GRACE how long requests may take to finish when the server is told to end, and
RECEIVE_TIMEOUT how many seconds a client that is sending may be silent.
"""

import gc
import logging
import os
import socket
import struct
from pathlib import Path
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

worker_class = "webapp.web.loop.LoopWorker"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "8"))

# Whose X-Forwarded-* headers count is the application's setting TRUSTED_PROXIES alone.
forwarded_allow_ips = ""

timeout = 60
graceful_timeout = int(os.environ.get("SHUTDOWN_GRACE", "30"))
keepalive = 5
receive_timeout = int(os.environ.get("RECEIVE_TIMEOUT", "15"))


class RecordLogger(Logger):
    """gunicorn's logger, whose records go the way of all others: one JSON object a line."""

    def setup(self, cfg: Config) -> None:
        """Set no handlers up: the root has them."""
        from webapp.logs import configure_logs  # noqa: PLC0415 - the path is set up by now
        from webapp.settings import LOG_LEVELS  # noqa: PLC0415 - as above

        super().setup(cfg)
        level = os.environ.get("LOG_LEVEL", "").strip()
        # What is no level is told by the application, with whatever else is wrong.
        configure_logs(level if level in LOG_LEVELS else "INFO")
        self.error_log.handlers.clear()
        self.error_log.setLevel(logging.NOTSET)
        self.error_log.propagate = True


# The application logs each request with its id and user; gunicorn tells of itself.
accesslog = None
logger_class = RecordLogger

# A worker proves that it lives by touching a file: on a slow disk that stalls the worker itself.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# Nobody steers a running server by socket here, and a file in the home folder surprises.
control_socket_disable = True


# All processes of a host count in one folder. It bears the host's name, since containers may share
# the rest, and have the same process ids.
_instance = Path(os.environ.get("INSTANCE_DIR") or "instance").absolute()
metrics_folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or str(
    _instance / "metrics" / socket.gethostname()
)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_folder


def on_starting(server: object) -> None:
    """Begin to count anew, unless others of this host go on."""
    from webapp.telemetry.folder import begin  # noqa: PLC0415 - the path is set up by now

    del server
    begin(Path(metrics_folder), me=os.getpid())


def when_ready(server: Any) -> None:
    """Give up on clients that stop in the middle of a request: each would hold a thread for ever.

    The kernel hands the limit on from the sockets that listen to each connection they accept;
    gunicorn has none of its own between the first byte and the last.
    """
    # struct timeval: whole seconds and microseconds, each as long as the machine's long.
    limit = struct.pack("ll", receive_timeout, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def child_exit(server: object, worker: Any) -> None:
    """Add what a worker has counted to what others had that have ended."""
    from webapp.telemetry.folder import merge_ended  # noqa: PLC0415 - the path is set up by now

    del server, worker
    merge_ended(Path(metrics_folder))


def post_worker_init(worker: Any) -> None:
    """Watch over alerts where no worker does.  What stays for ever the garbage collector need not
    see: its full rounds are pauses.
    """
    from tasks.watching import begin_watch  # noqa: PLC0415 - the path is set up by now

    worker.receive_seconds = receive_timeout
    begin_watch(worker.wsgi)
    gc.collect()
    gc.freeze()
