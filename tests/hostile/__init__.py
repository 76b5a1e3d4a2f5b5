"""Servers with hostile or faulty answers, and commands that run against them."""
