"""The training loop: steps, resume, optimizers, schedules."""
