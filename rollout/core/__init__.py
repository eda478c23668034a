"""Pure: what is wanted, what was seen, and what follows from the two. No client of anything."""
