"""What is computed once: decoded pixels, features, activations at a frozen boundary."""
