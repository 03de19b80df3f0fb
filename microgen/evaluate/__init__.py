"""How faithful generated structures are: a report in numbers, between a floor and a ceiling."""

from microgen.evaluate.compare import evaluate
from microgen.evaluate.report import Report, Row

__all__ = ["Report", "Row", "evaluate"]
