"""The embedded service for the users whose home is this worker: sessions, roster, presence, messages. No I/O."""
