"""Training: parameter groups, schedules, the loop, exact resume."""
