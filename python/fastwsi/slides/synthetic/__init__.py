"""Slides that are drawn, not scanned: a generator of lymph nodes with and without tumour."""
