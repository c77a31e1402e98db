"""`make million`: a million XMPP sessions on one machine, held, measured and reported.

In the order of a run: `arguments` and `plan` → `size` (what N sessions need), `host` (what the machine has) and
`needs` (what it lacks) → `settings` of the kernel, put back at the end → `server` (Megaphone) and `generator` with
each `load_process` → `watch` with `sampler`, `memory_watch`, `timeline` and `progress`, while `hold`, `storm` or
`soak` goes through its `phases` → `verdicts` → `report` → `page`, `charts` and `plot`. `growth` compares several
runs.
"""
