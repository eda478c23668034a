"""Moving traffic between the versions of a worker deployment: observe, plan, act."""

import stack  # noqa: F401  (its hook for Ctrl-C, before what is slow to import)
