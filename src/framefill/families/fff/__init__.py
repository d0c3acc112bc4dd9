"""Stable Video Diffusion as an inpainter (FFF-VDI): its pipeline, and what that stands on."""
