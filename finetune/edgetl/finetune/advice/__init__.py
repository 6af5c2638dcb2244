"""Which weights and which strategy suit the data."""
