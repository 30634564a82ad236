"""One short module a workflow: what the command line and the Python API both call."""
