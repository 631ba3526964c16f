"""The command `pairfld`: one file a verb; each parses, calls, prints."""
