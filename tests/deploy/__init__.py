"""Tests of what is shipped and of where it runs. They need root, a network and Debian's packages.

Not part of ``make test``: ``make test-deploy`` runs them, each file can be run alone, and a tool
that is missing fails a test instead of skipping it.
"""
