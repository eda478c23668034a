"""What runs inside a Python worker process: one build of the workflow code, polling Temporal.

For a worker with a `main()` of its own there are the names below; they need temporalio and
structlog, and nothing else.
"""

from rollout.worker.own_main import configure_logs, deployment_config, runtime, version

__all__ = ["configure_logs", "deployment_config", "runtime", "version"]
