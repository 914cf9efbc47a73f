"""Labels of an image's cells by a linear classifier on frozen features, trained on propagated maps."""
