"""What is computed, as values: NumPy only, so that everything can read and draw them without torch."""
