"""Moving traffic between the versions of a worker deployment: observe, plan, act."""
