"""Reading and writing files: one module per format, every picture with its scale and where that came from."""

from microgen.io.bar import suggest_crop_bottom
from microgen.io.folders import find_inputs, scan_inputs
from microgen.io.formats import FORMATS
from microgen.io.inspector import inspect
from microgen.io.pixel_size import PixelSize
from microgen.io.reader import read, read_recipe
from microgen.io.slices import read_slices
from microgen.io.writer import left_out, write

__all__ = [
    "FORMATS",
    "PixelSize",
    "find_inputs",
    "inspect",
    "left_out",
    "read",
    "read_recipe",
    "read_slices",
    "scan_inputs",
    "suggest_crop_bottom",
    "write",
]
