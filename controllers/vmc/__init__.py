"""VM controllers: intent joined with physical facts, turned into flow programs (paper section 3.1)."""
