"""The process that sweeps: on a schedule, or once."""
