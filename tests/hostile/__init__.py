"""Servers that answer as no cluster should, and commands run against them."""
