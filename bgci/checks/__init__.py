"""The test suite: its grammar and model, assertions, results, and the runner that sends the requests.

May import: appdef, analysis and engine. Start with ``suite.parse``, then ``runner.run``.
"""
