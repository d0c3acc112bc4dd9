"""Diffusion, written once for every family: processes and their preconditioning, noise levels, loss weights, samplers. torch only."""
