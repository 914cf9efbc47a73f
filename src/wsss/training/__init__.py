"""The training loop: steps, resuming, optimizers, learning rate schedules."""
