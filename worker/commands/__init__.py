"""The commands of `ttsfarm-worker`, one file a topic."""
