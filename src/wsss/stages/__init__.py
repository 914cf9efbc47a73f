"""One program a rule: reads files, calls the library, writes files."""
