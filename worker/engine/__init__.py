"""Speech engines behind one protocol; pure, no network, store or queue."""
