"""Result files: what is computed piece by piece, kept as it comes, and resumed. No torch."""
