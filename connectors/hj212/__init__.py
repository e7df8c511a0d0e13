"""HJ 212: frames, checksums, encryption, headers, commands. Bytes only; the data area belongs to `streams/codecs/hj212.py`."""
