# The API, the `ttsfarm` command and the jobs that set a farm up: no model, no audio, no compiler.
#   docker build -f deploy/api.Dockerfile -t ttsfarm-api .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/api.txt requirements/
# Wheels alone: an sdist would run a build, and want a compiler.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --only-binary :all: --require-hashes -r requirements/build.txt \
 && python3 -m venv --without-pip /opt/ttsfarm \
 && pip --python /opt/ttsfarm/bin/python install --quiet --only-binary :all: --require-hashes \
      -r requirements/api.txt
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY api api
COPY worker worker
COPY ttsfarm_client ttsfarm_client
RUN pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && pip --python /opt/ttsfarm/bin/python install --quiet --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ttsfarm API" \
      org.opencontainers.image.description="The HTTP API of a farm that turns Chinese text into speech" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A volume that is empty takes over who owns its place: the set-up job writes these as nobody special.
RUN groupadd --gid 10001 ttsfarm \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ttsfarm \
 && install -d -o 10001 -g 10001 /scratch /secrets/redis /secrets/farm /secrets/store /secrets/grafana
COPY --from=build /opt/ttsfarm /opt/ttsfarm
# What it is made of, as CycloneDX.
COPY deploy/sbom/api.cdx.json /usr/share/ttsfarm/sbom.cdx.json
COPY --chmod=755 deploy/secrets.sh /usr/local/bin/ttsfarm-secrets
ENV PATH=/opt/ttsfarm/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TTSFARM_API_HOST=0.0.0.0
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --retries=3 \
  CMD ["python3", "-S", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["ttsfarm"]
CMD ["serve"]
