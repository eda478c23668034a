"""supervisord's processes and the deployment's versions as Prometheus metrics."""
