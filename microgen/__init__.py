"""microgen: learn a generator from microstructures, ask it for new ones, and prove how faithful they are.

Everything is fields on a grid with a physical spacing: models make fields, descriptors measure them.
"""

from microgen.core import Condition, MicrogenError, Microstructure

__all__ = ["Condition", "MicrogenError", "Microstructure", "__version__"]

__version__ = "0.1.0"
