"""What a process that runs a snippet imports anyhow, all but the package itself: see `book.fresh`."""

import markdown_it  # noqa: F401
import mktestdocs  # noqa: F401
import numba
import numpy as np
import scipy.linalg
import scipy.optimize  # noqa: F401
import sklearn.datasets
import sklearn.linear_model
import sklearn.model_selection  # noqa: F401


@numba.njit(cache=False)
def _first(x):
    return np.sum(x * 2.0)


_first(np.ones(3))  # the first compilation in a process also reads Numba's tables of types and functions
