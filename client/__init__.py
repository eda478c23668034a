"""Whoever starts workflows: one greeting, or a steady load that checks every result."""
