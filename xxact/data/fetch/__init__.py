"""Public data sets: downloading them, and joining those of the Materials Project."""
