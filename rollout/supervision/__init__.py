"""supervisord: its RPC, its configuration, what its programs run, and their launcher."""
