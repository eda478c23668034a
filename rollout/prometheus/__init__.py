"""All that is asked of Prometheus: the queries, and the one client that sends them."""
