"""The networks and the assembling of instances. A forward pass gives score maps; what becomes of them lives elsewhere."""
