"""One TOML file for each kind of board, with facts and their sources; there is no code to import."""
