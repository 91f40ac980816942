"""One file a dialect or subject; a route parses, calls one thing and answers."""
