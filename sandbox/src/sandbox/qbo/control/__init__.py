"""The control side of the stand-in: the state of a process, seed, faults on demand, a person's actions, outgoing webhooks."""
