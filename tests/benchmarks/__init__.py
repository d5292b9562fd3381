"""The benchmarks: ratios against named peers, each in one interleaved run."""
