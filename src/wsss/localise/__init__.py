"""From a network to maps: views, fusion, gradients, background scores."""
