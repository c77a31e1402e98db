"""What the embedded service keeps on disk: one SQLite database, read at once, written in batches by a thread."""
