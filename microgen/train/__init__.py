"""The one training loop, its checkpoints, averages and record."""
