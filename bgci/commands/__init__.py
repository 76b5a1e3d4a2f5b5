"""One file per command of the command line: ``run(settings)``. No command imports another.

May import: everything below the command line. Start with ``release.run``.
"""
