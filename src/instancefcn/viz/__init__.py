"""The paper's figures: score-map sheets, and what proposals find and miss."""
