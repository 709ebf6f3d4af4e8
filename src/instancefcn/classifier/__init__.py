"""From proposals to named instances: the downstream classifier of the paper's Table 4."""
