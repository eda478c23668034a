"""What runs on a worker host: it routes nothing, tells what is there, and retires it in time."""
