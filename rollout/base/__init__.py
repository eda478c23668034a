"""What every room uses: how a command ends, logs, settings, the way to Temporal, names, waiting."""
