"""Pretrained weights of the feature, flow and interpolation networks: where they come from, how they are read, where they are kept."""
