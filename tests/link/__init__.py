"""The link protocol: a reference edge, a reference server side, and the tests that every server side must pass."""
