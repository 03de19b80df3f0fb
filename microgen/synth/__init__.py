"""Classical generators: structures of known grain size, texture, fraction and length, and pictures of them."""

from microgen.synth.backscatter import render_backscatter
from microgen.synth.ebsd_scan import scan_ebsd
from microgen.synth.evolved import grown_polycrystal, phase_separated
from microgen.synth.graded import graded_polycrystal
from microgen.synth.kinds import KINDS, RENDERINGS
from microgen.synth.laguerre import laguerre
from microgen.synth.matched import two_phase_like
from microgen.synth.micrographs import render_micrograph
from microgen.synth.particles import fibres, particles
from microgen.synth.polycrystals import polycrystal
from microgen.synth.sizes import MeasuredSizes, SizeDistribution
from microgen.synth.textures import Phase, Texture, crystallise
from microgen.synth.twins import twins
from microgen.synth.two_phase import spinodal, two_phase

__all__ = [
    "KINDS",
    "MeasuredSizes",
    "Phase",
    "RENDERINGS",
    "SizeDistribution",
    "Texture",
    "crystallise",
    "fibres",
    "graded_polycrystal",
    "grown_polycrystal",
    "laguerre",
    "particles",
    "phase_separated",
    "polycrystal",
    "render_backscatter",
    "render_micrograph",
    "scan_ebsd",
    "spinodal",
    "twins",
    "two_phase",
    "two_phase_like",
]
