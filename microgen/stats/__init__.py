"""Descriptors: functions of arrays that measure a microstructure, and the table of them."""

from microgen.stats.correlation import correlate, s2
from microgen.stats.curve import Curve
from microgen.stats.descriptors import DESCRIPTORS, Descriptor
from microgen.stats.ebsd import segment_orientation
from microgen.stats.interval import bootstrap_ci, circular_mean
from microgen.stats.lineal import chord_lengths, lineal_path, mean_chord_length
from microgen.stats.measurement import Measurement
from microgen.stats.measuring import applicable, measure
from microgen.stats.orientation import StructureTensor, local_direction, structure_tensor
from microgen.stats.phases import phase_fraction, specific_surface
from microgen.stats.pooling import pool
from microgen.stats.pores import local_thickness, thickness_distribution
from microgen.stats.spectrum import correlation_length, power_spectrum
from microgen.stats.topology import Connectivity, betti_numbers, connectivity, euler_density, euler_number

__all__ = [
    "DESCRIPTORS",
    "Descriptor",
    "Measurement",
    "applicable",
    "bootstrap_ci",
    "circular_mean",
    "measure",
    "Connectivity",
    "Curve",
    "StructureTensor",
    "betti_numbers",
    "chord_lengths",
    "connectivity",
    "correlate",
    "correlation_length",
    "euler_density",
    "euler_number",
    "lineal_path",
    "local_direction",
    "local_thickness",
    "mean_chord_length",
    "phase_fraction",
    "pool",
    "power_spectrum",
    "s2",
    "segment_orientation",
    "specific_surface",
    "structure_tensor",
    "thickness_distribution",
]
