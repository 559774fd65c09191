"""What the derivative of each function is."""
