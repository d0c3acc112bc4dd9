"""Feature networks of our own writing, and what turns frames into their input: I3D for videos, LPIPS and MobileNetV2 for pictures."""
