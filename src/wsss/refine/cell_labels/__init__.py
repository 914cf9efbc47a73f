"""Labels of an image's cells by a linear classifier on frozen features, which propagated maps have taught."""
