"""How int8 variants get their scales, and what is done when plain scales cost too much accuracy."""
