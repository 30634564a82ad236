"""The version, where everything (and the agent's packer) can read it without importing anything else."""

__version__ = "0.1.0"
