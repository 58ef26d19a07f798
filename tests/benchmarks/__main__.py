"""Measure the function, a burst of uploads, then the reconciliation and the views as they grow."""

from tests.benchmarks import burst, function, sizes

if __name__ == "__main__":
    function.run(function.main, burst.main, sizes.main)
