"""A run on disk: its folder, what identifies a part, how a process is set up, what stages read."""
