"""Loaded by a worker: it shows itself every second, and hears as soon that it is to stop."""

from tasks import periodic

periodic.WORKER_BEAT_SECONDS = 1.0
