"""The commands of `ttsfarm`, one file a topic."""
