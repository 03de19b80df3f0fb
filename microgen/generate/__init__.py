"""Asking a model: samples by seed and condition, canvases of any size, folders filled exactly once."""

from microgen.generate.sampling import find_model, sample_to_folder
from microgen.generate.workers import launch, worker_of_environment

__all__ = ["find_model", "launch", "sample_to_folder", "worker_of_environment"]
