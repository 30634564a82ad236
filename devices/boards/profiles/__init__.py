"""Board facts, one TOML file a board."""
