"""Recipes: reading, checking and building what they describe."""
