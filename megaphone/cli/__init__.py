"""The `megaphone` command."""
