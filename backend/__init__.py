"""The DSAR exporter: settings, models, services and the ``dsar`` command."""
