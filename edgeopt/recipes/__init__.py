"""What the user asked for, as frozen dataclasses and TOML; imports the light rooms, never TensorFlow."""
