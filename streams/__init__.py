"""Meaning and order: codecs, model, registry, windows, judge, leads, the pipeline page and its runtimes."""
