"""Cell classifier: a linear classifier of feature cells, trained on propagated maps; no network is trained."""
