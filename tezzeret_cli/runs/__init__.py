"""Runs and their journals: what was planned, what was done, and what a dead run left to do."""
