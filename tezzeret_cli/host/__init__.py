"""What this machine has to give, and what is left of it. What cannot be asked is absent, never zero."""
