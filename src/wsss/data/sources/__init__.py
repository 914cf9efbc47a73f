"""Where images and labels come from: one folder a kind."""
