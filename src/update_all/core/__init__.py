"""The engine: what a step is, in which order steps run, how they run, and what survives a crash."""
