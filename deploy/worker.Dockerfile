# A worker, or the courier. Target `espeak` is light; target `sambert` adds torch and the model's needs.
#   docker build -f deploy/worker.Dockerfile --target espeak -t ttsfarm-worker .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
COPY requirements/build.txt requirements/
# Wheels alone, here and below: an sdist would run a build, and want a compiler.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --only-binary :all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY api api
COPY worker worker
COPY ttsfarm_client ttsfarm_client
RUN pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /dist .

FROM ${PYTHON_IMAGE} AS build-espeak
COPY requirements/worker.txt /src/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/ttsfarm \
 && pip --python /opt/ttsfarm/bin/python install --quiet --only-binary :all: --require-hashes \
      -r /src/worker.txt
COPY --from=wheel /dist /dist
RUN pip --python /opt/ttsfarm/bin/python install --quiet --no-deps --no-index /dist/*.whl

FROM ${PYTHON_IMAGE} AS build-sambert
# requirements/torch-cpu.txt is torch's build for the CPU; torch-cuda.txt the one with CUDA (amd64).
ARG TORCH=cpu
# One more place to find torch's wheel, such as a mirror.
ARG TORCH_LINKS=""
COPY requirements/sambert.txt requirements/torch-*.txt /src/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/ttsfarm \
 && pip --python /opt/ttsfarm/bin/python install --quiet --only-binary :all: --require-hashes \
      -r /src/sambert.txt \
 && pip --python /opt/ttsfarm/bin/python install --quiet --only-binary :all: --require-hashes \
      --no-deps ${TORCH_LINKS:+--find-links ${TORCH_LINKS}} -r /src/torch-${TORCH}.txt
COPY --from=wheel /dist /dist
RUN pip --python /opt/ttsfarm/bin/python install --quiet --no-deps --no-index /dist/*.whl

# A model baked in: MODEL=owner/name@revision, MODEL_SHA256 the sha256 of its SHA256SUMS file.
FROM build-sambert AS model
ARG MODEL=""
ARG MODEL_SHA256=""
ARG MODEL_HUB=""
RUN mkdir /models && if [ -n "${MODEL}" ]; then \
      case "${MODEL}" in *@?*) ;; *) echo "MODEL=${MODEL}: name a revision, owner/name@revision" >&2; exit 1 ;; esac \
   && /opt/ttsfarm/bin/ttsfarm-worker fetch "${MODEL}" --models /models ${MODEL_HUB:+--endpoint ${MODEL_HUB}} \
   && echo "${MODEL_SHA256}  /models/${MODEL}/SHA256SUMS" | sha256sum --check --strict --quiet \
   && cd "/models/${MODEL}" && sha256sum --check --strict --quiet SHA256SUMS; fi

FROM ${PYTHON_IMAGE} AS base
# A volume that is empty takes over who owns its place.
RUN groupadd --gid 10001 ttsfarm \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ttsfarm \
 && install -d -o 10001 -g 10001 /scratch /cache /models
# Long audio is joined under TMPDIR: give it a disk, not memory.
ENV PATH=/opt/ttsfarm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/scratch \
    TTSFARM_CACHE_DIR=/cache \
    TTSFARM_HEALTH_FILE=/tmp/ttsfarm-healthy \
    TTSFARM_METRICS_HOST=0.0.0.0 \
    TTSFARM_METRICS_PORT=9100
USER 10001:10001
WORKDIR /tmp
EXPOSE 9100
# A worker touches the file each time it has told Redis that it is here and ready.
HEALTHCHECK --interval=5s --timeout=10s --start-period=300s --retries=3 \
  CMD ["sh", "-c", "test -n \"$(find \"$TTSFARM_HEALTH_FILE\" -newermt '20 seconds ago')\""]
ENTRYPOINT ["ttsfarm-worker"]
CMD ["run"]

FROM base AS sambert
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG MODEL=""
ARG TORCH=cpu
LABEL org.opencontainers.image.title="ttsfarm worker, sambert" \
      org.opencontainers.image.description="Speaks with ModelScope's Sambert-HifiGAN voices for a ttsfarm" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build-sambert /opt/ttsfarm /opt/ttsfarm
# What it is made of, as CycloneDX: one for each build of torch.
COPY deploy/sbom/sambert-${TORCH}.cdx.json /usr/share/ttsfarm/sbom.cdx.json
COPY --from=model --chown=10001:10001 /models /models
ENV TTSFARM_VOICES=sambert \
    TTSFARM_MODELS=${MODEL:+/models/${MODEL}}

FROM base AS espeak
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ttsfarm worker, espeak" \
      org.opencontainers.image.description="Speaks with espeak-ng for a ttsfarm, and delivers its webhooks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build-espeak /opt/ttsfarm /opt/ttsfarm
# What it is made of, as CycloneDX.
COPY deploy/sbom/worker.cdx.json /usr/share/ttsfarm/sbom.cdx.json
ENV TTSFARM_VOICES=espeak
