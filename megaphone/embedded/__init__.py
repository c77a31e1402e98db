"""The embedded service on one worker: client connections become sessions; what they say finds its home."""
