"""The journal: an append-only log in a folder, durable when it says so, and honest about damage."""
