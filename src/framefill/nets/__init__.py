"""Networks of our own writing: one file a network, torch only; whose weights fit stands in `weights`."""
