"""The composition root: command line, settings, wiring, the simulated city and the benchmarks."""
