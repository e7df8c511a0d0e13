"""`/api/v1`: one module a resource. Handlers translate HTTP to the desk and back, and decide nothing."""
