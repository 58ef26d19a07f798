"""The commands, one a file, each named as people type it."""
