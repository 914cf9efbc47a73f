"""labelme's JSON files: one an image, with a mask a class."""
