"""Classical generators: structures of known grain size, texture, fraction and length, and micrographs of them."""

from microgen.synth.graded import graded_polycrystal
from microgen.synth.kinds import KINDS
from microgen.synth.laguerre import laguerre
from microgen.synth.micrographs import render_micrograph
from microgen.synth.polycrystals import polycrystal
from microgen.synth.sizes import MeasuredSizes, SizeDistribution
from microgen.synth.textures import Phase, Texture, crystallise
from microgen.synth.twins import twins
from microgen.synth.two_phase import spinodal, two_phase

__all__ = [
    "KINDS",
    "MeasuredSizes",
    "Phase",
    "SizeDistribution",
    "Texture",
    "crystallise",
    "graded_polycrystal",
    "laguerre",
    "polycrystal",
    "render_micrograph",
    "spinodal",
    "twins",
    "two_phase",
]
