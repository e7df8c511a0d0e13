"""Numbers only: arrays in, scores out. No I/O, no clock, no logging, no domain objects."""
