"""Ours and its peers, measured side by side: `python -m benchmarks` writes docs/performance.md."""
