"""Transports: how files and commands reach a device: this machine, SSH, or a fake one; import the light rooms only."""
