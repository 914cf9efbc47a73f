"""The commands of `wsss`: one file per command."""
