"""Waves to audio files and back; pure, no network, store or queue.

Loads numpy, soundfile and soxr: workers import it freely, the API only where it streams.
"""
