"""All that speaks the Temporal server's API: reading, routing, metadata, gates, deletion."""
