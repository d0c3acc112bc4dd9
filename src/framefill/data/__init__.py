"""Clips for training: finding, listing, checking, reading and packing them."""
