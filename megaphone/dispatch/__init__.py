"""The centre: registry, mailbox, dispatcher, counters. No I/O."""
