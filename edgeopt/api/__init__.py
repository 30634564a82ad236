"""One short file or folder for each workflow. It may import every room but check, callbacks and cli."""
