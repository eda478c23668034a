"""The demo stack's own: what must hold before it starts, bringing it up, and taking it down."""
