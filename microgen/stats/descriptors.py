"""The table of descriptors, from its rows by subject."""

from __future__ import annotations

from microgen.stats import _rows_grain, _rows_phase, _rows_signal, _rows_topology
from microgen.stats._descriptor import Descriptor

__all__ = ["DESCRIPTORS", "Descriptor"]

DESCRIPTORS: dict[str, Descriptor] = {
    **_rows_phase.ROWS,
    **_rows_topology.ROWS,
    **_rows_grain.ROWS,
    **_rows_signal.ROWS,
}
"""Every descriptor by name; docs, command line, report and property tests read this table."""
