"""edgeopt on a Python that this system does not have."""
