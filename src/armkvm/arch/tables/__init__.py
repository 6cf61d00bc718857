"""Rows of architectural facts. Each table says where it comes from."""
