"""What is measured: the exporter, Prometheus's configuration, and the alert rules."""
