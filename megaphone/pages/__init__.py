"""Ephemeral pages: a page lives in the browsers that show it, the server only introduces them. No I/O."""
