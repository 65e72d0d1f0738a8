"""What is worth teaching: traces, verification, grounding and scrubbing. No torch here."""
