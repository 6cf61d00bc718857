"""The command line: chooses a place, reads files, prints, and says how it went."""
