"""`python -m fuzz TARGET libFuzzer-arguments…`, in the build that scripts/fuzz makes."""

import sys

from fuzz import driver

driver.fuzz(sys.argv[1], ["fuzz", *sys.argv[2:]])
