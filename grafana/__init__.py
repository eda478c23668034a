"""What is seen: Grafana's configuration, its provisioning, and its dashboards."""
