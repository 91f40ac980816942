"""Azure's batch synthesis (api-version 2024-04-01): what its clients send and read."""
