"""From the source of a function to the source of its derivative: read, activity, reverse, forward, emit."""
