"""Devices: shipping an artifact to one, running it there, and bringing the numbers back."""
