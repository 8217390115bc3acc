"""Speed and memory, as ratios against a plain implementation in the same run: `python -m benchmarks`."""
