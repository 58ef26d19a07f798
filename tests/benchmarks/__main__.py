"""Measure the function, then the reconciliation and the views at growing sizes."""

from tests.benchmarks import function, sizes

if __name__ == "__main__":
    function.run(function.main, sizes.main)
