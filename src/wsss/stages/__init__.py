"""Stage programs, one per rule: read files, call the library, write files."""
