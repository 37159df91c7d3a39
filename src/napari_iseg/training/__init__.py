"""Training: data, samples, losses and the loop that fits a model by a recipe."""
