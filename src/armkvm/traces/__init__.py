"""Recorded call sequences, and replaying them on any place."""
