"""`make million`: a million XMPP sessions on one machine, held, measured and reported.

In the order of a run: `arguments` → `size` (what N sessions need) → `needs` and `host` (what the machine has) → `settings`
(of the kernel, put back at the end) → `server` (Megaphone) and `generator` with its `load_process`es → `run` (ramp, hold,
close) with `sampler` and `progress` → `verdicts` → `report` → `page` and `plot`.
"""
