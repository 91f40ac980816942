"""From text to speakable segments; pure, no network, store or queue."""
