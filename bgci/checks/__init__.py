"""The test suite: its grammar and model, assertions, results, and the runner that sends the requests.

May import: appdef, analysis and engine. Start with ``model`` (the values), then
``suite.parse`` (file to values) and ``runner.run`` (values to ``test_result.Case``).
"""
