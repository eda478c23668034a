"""The source of docs/reference.md; ``python -m docs.source`` writes it."""
