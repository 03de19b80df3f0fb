"""``python -m microgen.cli``: the command line where the ``microgen`` script is not on the path."""

from . import main

main()
