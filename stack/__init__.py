"""What every process of the stack shares, and bringing the stack up and down."""
