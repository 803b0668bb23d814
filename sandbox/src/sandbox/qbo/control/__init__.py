"""What the stand-in's operator steers: the world of one process, its seed, faults on demand, a person's hand, webhooks out."""
