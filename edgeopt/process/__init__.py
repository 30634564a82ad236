"""Child processes: isolation, the fork server, and what runs in them; imports errors only."""
