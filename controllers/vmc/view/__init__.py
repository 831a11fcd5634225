"""The state of a VM controller: intent, physical facts, and the Hoverboards that are alive."""
