"""The executor: one background role a file."""
