"""Classical generators: structures of known grain size, fraction and length, and micrographs of them."""

from microgen.synth.kinds import KINDS
from microgen.synth.micrographs import render_micrograph
from microgen.synth.polycrystals import polycrystal
from microgen.synth.two_phase import spinodal, two_phase

__all__ = ["KINDS", "polycrystal", "render_micrograph", "spinodal", "two_phase"]
