"""The synthesis side of the farm: claims work, speaks it, stores the audio."""
