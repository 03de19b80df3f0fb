"""Asking a model: samples by seed and condition, canvases of any size, folders filled exactly once."""

from microgen.generate.exploration import explore_to_folder
from microgen.generate.interpolation import interpolate, interpolate_to_folder, remake_frame
from microgen.generate.inversion_output import invert_to_folder, search_to_folder
from microgen.generate.sampling import condition_folders, preview_request, remake, sample_to_folder
from microgen.generate.workers import launch, worker_of_environment
from microgen.models.file import find_model

__all__ = [
    "condition_folders",
    "explore_to_folder",
    "find_model",
    "interpolate",
    "interpolate_to_folder",
    "invert_to_folder",
    "launch",
    "preview_request",
    "remake",
    "remake_frame",
    "sample_to_folder",
    "search_to_folder",
    "worker_of_environment",
]
