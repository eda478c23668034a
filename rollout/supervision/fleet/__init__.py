"""The worker programs of this machine: adding, starting, stopping and removing them."""
