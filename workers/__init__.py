"""Inside a worker process: one build of the workflow code, polling Temporal."""
