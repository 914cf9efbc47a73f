"""Generated images with exact masks."""
