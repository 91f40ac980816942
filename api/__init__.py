"""The HTTP side of the farm: accepts jobs, answers about them, never touches a model."""
