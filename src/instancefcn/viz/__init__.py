"""Pictures for people: proposals drawn over their image."""
