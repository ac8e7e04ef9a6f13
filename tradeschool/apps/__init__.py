"""The trading environment for a person at the terminal and for programs over the network."""
