"""Take all measures, of the function and then at growing sizes."""

from tests.benchmarks import function, sizes

if __name__ == "__main__":
    function.run(function.main, sizes.main)
