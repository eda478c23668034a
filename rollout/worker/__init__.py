"""What runs inside a Python worker process: one build of the workflow code, polling Temporal."""
