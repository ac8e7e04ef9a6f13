"""Agents on the same episodes: who is graded how, on which version of the environment, and how sure that is."""
