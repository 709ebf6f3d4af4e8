"""The networks and the assembling of instances. What becomes of score maps lives elsewhere."""
