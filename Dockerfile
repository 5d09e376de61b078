# One image for every process: `broker web`, `worker`, `scheduler`, `reap`, `migrate` are arguments.
#
# The base is pinned by tag, not by digest: where this file was written no registry could be asked.
# Pin it where you build (python:3.12-slim-trixie@sha256:…), in both places.

FROM python:3.12-slim-trixie AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/ requirements/
# The lock of development holds the build's one tool too; nothing is installed without its hash.
RUN python -m venv /opt/broker \
    && /opt/broker/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt \
    && python -m venv /opt/build \
    && sed -n '/^setuptools==/,/[^\\]$/p' requirements/dev.txt > /opt/build/setuptools.txt \
    && /opt/build/bin/pip install --require-hashes --only-binary :all: -r /opt/build/setuptools.txt
COPY pyproject.toml README.md ./
COPY broker/ broker/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /opt/build/wheel . \
    && /opt/broker/bin/pip install --no-deps /opt/build/wheel/*.whl \
    && /opt/broker/bin/pip uninstall --yes pip

FROM python:3.12-slim-trixie
# pg_dump must not be older than a tenant's server. Debian 13 brings version 17; for servers of
# version 18 add PostgreSQL's own repository here. Security fixes of the client are wanted at once,
# so its version is not pinned; the broker refuses a client that is too old.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 broker \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin broker
COPY --from=builder /opt/broker /opt/broker
WORKDIR /srv/broker
# Data only: policies and permissions. Settings come from BROKER_* or a mounted config/broker.toml.
COPY config/ config/
# Nobody works in here by hand; if somebody must, no shell or interpreter writes down what was typed.
ENV PATH=/opt/broker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HISTFILE=/dev/null \
    PSQL_HISTORY=/dev/null
USER 10001:10001
# A worker or a reaper has no port to ask. Web's health is asked over HTTP, the others' heartbeats
# are looked for in the control database: by the orchestrator, not in here.
HEALTHCHECK NONE
# Start with an init (docker run --init): the broker runs PostgreSQL's tools as children.
ENTRYPOINT ["broker"]
