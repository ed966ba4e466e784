# syntax=docker/dockerfile:1
# Stage 1 builds the wheel that `make wheel` builds; stage 2 holds Python, that wheel and nothing else.
FROM python:3.13-slim-bookworm AS build
# The compiler's version is that of the base image.
# hadolint ignore=DL3008
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements requirements
RUN python -m venv /venv && /venv/bin/pip install -q --no-cache-dir -r requirements/build.txt
COPY . .
RUN /venv/bin/pip wheel -q --no-cache-dir --no-deps --no-build-isolation -w /wheels . \
    && /venv/bin/pip wheel -q --no-cache-dir -w /wheels -r requirements/run.txt

FROM python:3.13-slim-bookworm
# One number for the user, so that a redirect of traffic can leave the proxy's own alone (Istio's choice too).
RUN groupadd --gid 1337 fastmesh && useradd --uid 1337 --gid 1337 --no-create-home --shell /usr/sbin/nologin fastmesh
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    python -m pip install -q --no-cache-dir --no-index --no-deps /wheels/*.whl \
    && fastmesh version
USER 1337:1337
# The configuration is mounted at /etc/fastmesh. There is no HEALTHCHECK, for the configuration decides where the admin
# API listens (by default on loopback, port 15000); what orchestrators ask is its /ready.
STOPSIGNAL SIGTERM
ENTRYPOINT ["fastmesh"]
CMD ["run", "-c", "/etc/fastmesh/mesh.yaml"]
