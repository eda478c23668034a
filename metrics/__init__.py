"""What is measured: the exporter, Prometheus's configuration, and the alert rules."""

import stack  # noqa: F401  (its hook for Ctrl-C, before what is slow to import)
