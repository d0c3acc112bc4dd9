"""The program `framefill`."""
