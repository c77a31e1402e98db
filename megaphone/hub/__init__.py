"""The hub: the server side of the link protocol beside a server that has no module, an ordinary socket per client.

edge ◄── link ──► LinkSocket ◄─► HubLink ◄─► HubStream ◄─ Dispatcher ─► DirectStream ◄── socket ──► server
"""
