"""The dashboards' source; ``python -m grafana.source`` writes them to grafana/dashboards."""
