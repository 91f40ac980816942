#!/usr/bin/env bash
# Starts the S3 server that stands in for MinIO and makes the farm's own user in it.
set -euo pipefail
MINIO_ROOT_USER=$(cat "$MINIO_ROOT_USER_FILE")
MINIO_ROOT_PASSWORD=$(cat "$MINIO_ROOT_PASSWORD_FILE")
export MINIO_ROOT_USER MINIO_ROOT_PASSWORD
# A first start that was cut short leaves a half-made store, which never starts again.
[ -e /data/made ] || rm -rf /data/.stand-in
minio "$@" &
server=$!
trap 'kill -TERM $server; wait $server; exit 0' TERM INT
until curl -fs -o /dev/null http://127.0.0.1:9000/minio/health/live; do sleep 0.2; done
admin=(s3-server admin --dir /data/.stand-in --port 9000 --)
"${admin[@]}" user info --uid ttsfarm >/dev/null 2>&1 ||
  "${admin[@]}" user create --uid ttsfarm --display-name farm \
    --access-key "$(cat /farm-keys/ttsfarm_s3_access_key)" \
    --secret-key "$(cat /farm-keys/ttsfarm_s3_secret_key)" >/dev/null
touch /data/made /run/farm-user
wait $server
