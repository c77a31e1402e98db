"""Load tests for any XMPP server: thousands of sessions in a process, driven and reported by Locust."""
