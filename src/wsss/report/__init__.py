"""A run's page, its figures and the model card."""
