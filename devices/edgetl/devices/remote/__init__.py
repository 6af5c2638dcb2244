"""Running a command on another machine over SSH: what goes there, what runs there, what comes home."""
