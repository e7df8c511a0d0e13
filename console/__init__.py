"""What people see: HTTP API, live events, web pages. Loopback only until sign-in exists (design §7)."""
