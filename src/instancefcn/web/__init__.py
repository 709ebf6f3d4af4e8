"""The page to look at objects, ask why, and accept labels: a local server and what it shows."""
