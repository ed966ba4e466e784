"""`python -m fuzz TARGET libFuzzer-arguments…`, in the build that scripts/fuzz makes."""

import sys

from fuzz import driver

target: object = sys.argv[1]
if target == "proxy":
    from playbook.any_bytes import fuzz_input as target

driver.fuzz(target, ["fuzz", *sys.argv[2:]])
