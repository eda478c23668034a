"""Whether the target does as well as the current build: measured by Prometheus, judged purely."""
