"""The commands of `wsss`: one file a command."""
