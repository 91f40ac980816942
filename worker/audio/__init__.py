"""Waves: gate, join, encode; pure, no network, store or queue."""
