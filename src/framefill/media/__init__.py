"""Video and mask files in and out, and what is worked out on pixels without any model: masks, windows, the composite."""
