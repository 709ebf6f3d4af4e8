"""The paper's experiments: what is trained on what, measured how, and what that says of each claim of the paper."""
