"""What a VM controller knows: intent, physical facts, and which nodes live."""
