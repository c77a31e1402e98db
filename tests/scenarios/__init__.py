"""Scripted sessions run by slixmpp clients, recorded as transcripts that can be compared."""
