"""The audio gate; pure, no network, store or queue."""
