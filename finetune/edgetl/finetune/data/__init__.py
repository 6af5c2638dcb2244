"""The user's images: where they are, their splits, and what is wrong with them."""
