"""Networks over images of any height, a band of rows at a time."""
