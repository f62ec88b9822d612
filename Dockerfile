# One image, several commands: web (the default), worker, edge, release, or any other command.
# It runs as an ordinary user over a root file system that may be read-only: what is written goes
# to /data (INSTANCE_DIR) and /tmp.

FROM python:3.13-slim-bookworm AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt requirements-ml.txt requirements-otel.txt /tmp/
# Without what models need, 200 MB of it: --build-arg ML=0.
ARG ML=1
# With what traces need: --build-arg OTEL=1.
ARG OTEL=0
# The lists are complete and hashed: nothing is left to resolve.
RUN /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/requirements.txt \
    && if [ "$ML" != 0 ]; then \
        /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/requirements-ml.txt; fi \
    && if [ "$OTEL" != 0 ]; then \
        /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/requirements-otel.txt; fi \
    && /opt/venv/bin/pip uninstall --yes pip


FROM python:3.13-slim-bookworm
# curl is for the health check: its security updates are wanted, not one version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home switchyard \
    && install --directory --owner=switchyard --group=switchyard --mode=0700 /data

WORKDIR /srv/switchyard
COPY --from=packages /opt/venv /opt/venv
COPY . .
RUN /opt/venv/bin/python -m compileall -q webapp tasks wsgi.py gunicorn.conf.py

# Metrics are counted where a container begins anew: the volume outlives it.
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FLASK_APP=wsgi \
    HOST=0.0.0.0 \
    PORT=8000 \
    INSTANCE_DIR=/data \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics
USER 10001
VOLUME /data
EXPOSE 8000
# For web. The compose files ask a worker otherwise.
HEALTHCHECK --interval=30s --timeout=10s --retries=3 --start-period=40s \
    CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["scripts/container.sh"]
CMD ["web"]
