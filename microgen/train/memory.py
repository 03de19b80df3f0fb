"""Which errors mean that memory is short; without torch, so that the command line can ask too."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that there was not enough memory, of the machine or of a GPU.

    Torch raises a RuntimeError, or its own kind of it, and says so only in words.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    True
    """
    text = str(error).lower()
    said = "can't allocate memory" in text or "out of memory" in text
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and said)
