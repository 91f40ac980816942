# MinIO's community edition is source alone since October 2025: its maintainers have one build it
# from its Go module, which Go checks against its public checksum database. This is the last release
# that mends a security fault. The project is closed; docs/deploy.md says how to use another store.
ARG GO_IMAGE=golang:1.24-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${GO_IMAGE} AS build
ARG MINIO_RELEASE=RELEASE.2025-10-15T17-29-55Z
# The release's own date, as MinIO's build script writes it: without it the server calls itself
# a development build.
RUN time=$(echo "${MINIO_RELEASE#RELEASE.}" | sed 's/T\(..\)-\(..\)-/T\1:\2:/') \
 && CGO_ENABLED=0 go install -trimpath -ldflags "-s -w \
      -X github.com/minio/minio/cmd.Version=${time} \
      -X github.com/minio/minio/cmd.ReleaseTag=${MINIO_RELEASE}" \
      "github.com/minio/minio@${MINIO_RELEASE}"

FROM ${DEBIAN_IMAGE}
ARG MINIO_RELEASE=RELEASE.2025-10-15T17-29-55Z
LABEL org.opencontainers.image.title="MinIO for ttsfarm" \
      org.opencontainers.image.licenses="AGPL-3.0-only" \
      org.opencontainers.image.version="${MINIO_RELEASE}"
RUN groupadd --gid 10002 minio \
 && useradd --uid 10002 --gid 10002 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin minio \
 && install -d -o 10002 -g 10002 /data
COPY --from=build /go/bin/minio /usr/local/bin/minio
USER 10002:10002
VOLUME /data
EXPOSE 9000
ENTRYPOINT ["minio"]
CMD ["server", "/data"]
