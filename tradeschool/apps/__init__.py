"""Who takes part from outside: a person at the terminal, an agent over the wire."""
