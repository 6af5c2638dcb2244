"""Asking other computers: the command they are given, the report they send back, many of them at once."""
