"""Command lines over the services."""
