"""The published contracts: what crosses the boundary of the product, as JSON Schema made from the code that reads and writes it."""
