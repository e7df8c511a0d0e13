"""Bytes only: devices, HTTP, files, logs and history stores. Nothing here knows what a reading means."""
