"""Differential fuzzing: generated call sequences on two places, compared step by step."""
