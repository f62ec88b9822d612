"""The web process: ``gunicorn wsgi:app`` and ``flask --app wsgi``."""

from webapp.standalone import stand_in

app = stand_in()
if app is None:
    # Not before: what is imported here builds the application.
    from tasks.application import application

    app = application()
