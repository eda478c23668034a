"""Setting a checkout up: its virtual environment, Prometheus and Grafana."""
