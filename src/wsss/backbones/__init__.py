"""Networks under classifiers, and published weights under their own names."""
