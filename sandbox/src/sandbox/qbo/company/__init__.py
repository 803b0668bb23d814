"""One company's state: the shapes of its documents, the store that holds them, the clock they live on."""
