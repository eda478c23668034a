"""A report of one rollout: what it says, how it looks, and where it is kept."""
