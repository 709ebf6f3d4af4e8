"""Assignment, targets, losses and the loop."""
