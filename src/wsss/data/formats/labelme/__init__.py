"""labelme's JSON files: one per image, with one mask per class."""
