"""How the meter's packet loops are compiled: three decorators over Numba, one set of options."""

from __future__ import annotations

from typing import Any

import numba as nb

# Kernels work in arrays that their callers hold, and allocate nothing; so they count no references. Counting would cost
# two calls for every array of the table wherever one kernel hands it to another: two thirds of all the time.
_OPTIONS: Any = {"boundscheck": False, "_nrt": False}

entry_kernel = nb.njit(**_OPTIONS, nogil=True, cache=True)  # called from Python; kept on disk once compiled
kernel = nb.njit(**_OPTIONS)  # called by kernels
inlined = nb.njit(**_OPTIONS, inline="always")  # written into its callers
