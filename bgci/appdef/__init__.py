"""Renders an app definition and its three DC/OS Jobs from a template, and checks them by the rules of Marathon,
marathon-lb and Metronome. Pure.

Start with ``template.render_template``, then ``validate.check_definition`` (its rules: ``marathon_rules``,
``haproxy_labels``), ``colour`` (the app of one colour) and ``jobs``. May import: errors, redaction.
"""
