"""`rollout watch`: the rollout in a terminal, as it goes."""
