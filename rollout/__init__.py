"""Zero-downtime upgrades of Temporal workers on plain machines, under Supervisor."""

__all__ = ["__version__"]

__version__ = "0.1.0"
