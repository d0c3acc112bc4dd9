"""Training: configs and presets, the mask objective, optimisers, EMA, and a trainer on Accelerate that never sees a model."""
