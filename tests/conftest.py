"""One thread of BLAS a test process, as in the command line: the processes share the cores already."""

import os

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
