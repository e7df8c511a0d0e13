"""Codecs: bytes of one content type enter, `Decoded` (readings, events, rejects) leaves."""
