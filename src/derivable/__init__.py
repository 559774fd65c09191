"""Derivable: an executable textbook of the foundations of deep learning, and the package it runs on.

Import it as `import derivable as dv`. Every public name stands here; the modules hold them by chapter.
"""

from derivable.jit import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "get_num_threads",
    "set_num_threads",
]
