"""Imported by the server that children are forked from: what they would all build first."""

from killing import objective_of

objective_of("digits-cnn", ("width", "4"), ("train_size", "160"))
objective_of("digits-mlp", ("width", "16"))
objective_of("digits-mlp", ("width", "8"))
