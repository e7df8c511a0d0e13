"""Windows: minute, hour and day values and the formulas of HJ 212-2017 appendix D that they rest on."""
