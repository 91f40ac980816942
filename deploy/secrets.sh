#!/bin/sh
# Chooses a farm's passwords once and writes them where its containers read them:
#   redis/redis.conf                            Redis's password
#   farm/ttsfarm_redis_url, ..._s3_*_key        what the farm's own processes use
#   store/ttsfarm_s3_access_key, ..._secret_key the object store's root, for the store and its set-up
#   grafana/admin_password                      Grafana's first user
# What is there stays as it is, so that running it again changes nothing.
set -eu
cd "${1:-/secrets}"
umask 0333 # readable by every container that is given the folder, writable by none

new() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

keep() { # keep FILE CONTENT
  [ -s "$1" ] && return
  rm -f "$1.new"
  printf '%s\n' "$2" >"$1.new"
  mv "$1.new" "$1"
  echo "made $1"
}

keep redis/redis.conf "requirepass $(new)"
password=$(sed -n 's/^requirepass //p' redis/redis.conf)
keep farm/ttsfarm_redis_url "redis://:$password@${REDIS_HOST:-redis}:6379/0"
keep farm/ttsfarm_s3_access_key "ttsfarm"
keep farm/ttsfarm_s3_secret_key "$(new)"
keep store/ttsfarm_s3_access_key "root-$(new | cut -c 1-8)"
keep store/ttsfarm_s3_secret_key "$(new)"
keep grafana/admin_password "$(new)"
