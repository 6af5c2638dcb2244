"""Many trainings, to find the options that suit the data."""
