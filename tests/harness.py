# SPDX-License-Identifier: BSD-2-Clause
"""What the tests in Python have in common: how they fail, skip and run. Standard library only."""
import sys

SKIP = 77  # exit status that tests/run takes for a skip; the last line printed says what is missing


def skip(why):
    print(why)
    sys.exit(SKIP)


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


def equal(got, want, what):
    if got != want:
        raise Failure(f"{what}: {got!r}, expected {want!r}")


def run_tests(tests):
    """Run functions one by one, say what failed; exit status as tests/run wants it."""
    failed = 0
    for test in tests:
        try:
            test()
            print(f"ok    {test.__name__}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAIL  {test.__name__}: {failure}", flush=True)
    sys.exit(1 if failed else 0)
