# Two stages: one installs exactly the locked files, the other runs them as an ordinary user, without build tools.
# deploy/replay_dockerfile.py carries these steps out without a container engine; keep to what it knows.
#
# The base by its tag; by digest with BASE, for a build that can be made again and an image that can be audited:
#   docker buildx imagetools inspect python:3.11-slim-bookworm     says which digest the tag has now
#   make image BASE=python:3.11-slim-bookworm@sha256:…
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS build

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /app

# uv installs the lock; both are checked against hashes.
COPY deploy/requirements-uv.txt deploy/requirements-uv.txt
RUN python -m venv /opt/uv \
 && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r deploy/requirements-uv.txt

ENV VIRTUAL_ENV=/opt/venv \
    UV_CACHE_DIR=/root/.cache/uv \
    UV_LINK_MODE=copy
COPY requirements.lock requirements.lock
RUN --mount=type=cache,target=/root/.cache/uv \
    python -m venv --without-pip /opt/venv \
 && /opt/uv/bin/uv pip sync --require-hashes --compile-bytecode requirements.lock

# The project in place: the pipeline's stages depend on the source files that they run.
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
RUN /opt/uv/bin/uv pip install --no-deps --no-build-isolation --editable . \
 && /opt/venv/bin/python -m compileall -q src


FROM ${BASE}

# The commit that the image was built from.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="netwarden" \
      org.opencontainers.image.description="Machine-learning network intrusion detection: portal, JSON API, training pipeline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm"

RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/netwarden --shell /usr/sbin/nologin netwarden
WORKDIR /app

COPY --from=build /opt/venv /opt/venv
COPY --from=build /app/src src
COPY pyproject.toml setup.py requirements.lock README.md LICENSE params.json dvc.yaml dvc.lock app.py main.py ETL.py service.py bentofile.yaml ./
COPY .dvcignore .dvcignore
COPY .dvc/config .dvc/config
COPY schema schema
COPY config config
COPY templates templates
COPY static static
COPY data/manifests data/manifests
COPY lab lab

# Nothing else can be written: who loads data or trains works in a copy of this folder under NETWARDEN_HOME.
RUN mkdir -p kernels /var/lib/netwarden && chown 10001:10001 kernels /var/lib/netwarden

ENV PATH=/opt/venv/bin:$PATH \
    HOME=/var/lib/netwarden \
    LOGNAME=netwarden \
    NETWARDEN_HOME=/var/lib/netwarden \
    NUMBA_CACHE_DIR=/app/kernels \
    NETWARDEN_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet

USER 10001
# The flow meter's kernels, compiled. Numba uses a cache only where it can write, so it is a volume: an engine fills that
# from the image, also under a read-only root. Where it does not, kernels go to HOME at first use.
RUN netwarden meter compile
VOLUME /var/lib/netwarden /app/kernels
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"NETWARDEN_PORT\", 8000)}/health', timeout=4)"]
CMD ["netwarden", "serve"]
