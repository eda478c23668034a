"""The controller: a loop that observes, plans and acts, and tells of itself."""
