"""The proof of the posting protocol: real processes, real crashes, every fault of the QuickBooks stand-in."""
