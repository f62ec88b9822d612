"""How gunicorn serves the console. Holds the process model only: the application has its settings.

HOST and PORT say where to listen, WEB_CONCURRENCY and WEB_THREADS how many requests are served at
once, SHUTDOWN_GRACE how long requests may take to finish when the server is told to end.
"""

import gc
import os
from pathlib import Path

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "8"))

# Whose X-Forwarded-* headers count is the application's setting TRUSTED_PROXIES alone.
forwarded_allow_ips = ""

timeout = 60
graceful_timeout = int(os.environ.get("SHUTDOWN_GRACE", "30"))
keepalive = 5

# The application logs each request with its id and user; gunicorn tells of trouble only.
accesslog = None
loglevel = "warning"

# A worker proves that it lives by touching a file: on a slow disk that stalls the worker itself.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# Nobody steers a running server by socket here, and a file in the home folder surprises.
control_socket_disable = True


def post_worker_init(worker: object) -> None:
    """Take what stays for ever out of the garbage collector's sight: its full rounds are pauses."""
    del worker
    gc.collect()
    gc.freeze()
