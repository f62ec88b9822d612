"""The web process: ``gunicorn wsgi:app`` and ``flask --app wsgi``."""

from tasks.application import application

app = application()
