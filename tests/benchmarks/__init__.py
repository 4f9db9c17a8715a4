"""Measurements: commands that make their own data and print ratios. Not collected as tests."""
