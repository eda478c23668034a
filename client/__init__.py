"""Whoever starts workflows: one greeting, or a steady load that checks every result."""

import stack  # noqa: F401  (its hook for Ctrl-C, before what is slow to import)
