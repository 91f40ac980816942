"""What both sides of the farm use; imports neither."""
